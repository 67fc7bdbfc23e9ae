"""Log one line a request, with its address and the number of its key; no bodies, no keys."""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from functools import cache
from typing import Any

import structlog
from flask import Flask, Response, g, request

from serving.gate import Gate
from serving.http import add_headers
from serving.state import state_of

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE = "0" * 32
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
log = structlog.get_logger()


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a W3C `traceparent` header, or a new one where it is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is not None and match[1] != _NO_TRACE:
        return match[1]
    return f"{_random(os.getpid()).getrandbits(128) or 1:032x}"


@cache
def _random(pid: int) -> random.Random:
    """Return a generator of this process: the system's is slow, and a fork must not repeat one."""
    return random.Random(secrets.token_bytes(32))


def register(app: Flask, gate: Gate) -> None:
    """Give every request a trace_id, let it in or refuse it, and log and harden its answer."""
    state = state_of(app)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.trace_id = trace_id_of(request.headers.get("traceparent", ""))
        if not state.model.started:  # the first request of a process that nothing else started
            state.model.start()
        g.key = gate.check(request)

    @app.after_request
    def end(response: Response) -> Response:
        add_headers(response)
        if rows := g.get("rows", 0):
            gate.charge(request, g.key, rows)
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        # The rule, not the path: clients can make up any path,
        endpoint = request.url_rule.rule if request.url_rule else "none"
        # and any method, and each would be a time series of its own.
        method = request.method if request.method in _METHODS else "other"
        state.metrics.observe(endpoint, method, response.status_code, seconds)
        log_request(
            trace_id=g.get("trace_id"),
            method=request.method,
            path=request.path[:200],
            status=response.status_code,
            seconds=seconds,
            client=request.remote_addr,
            key=g.get("key"),
            version=g.get("version"),
        )
        return response


def log_request(*, seconds: float, **fields: Any) -> None:
    """Log a request that was answered."""
    log.info("request", ms=round(seconds * 1000, 3), **fields)
