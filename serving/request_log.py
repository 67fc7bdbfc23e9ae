"""Log one line a request, with its address and the number of its key; no bodies, no keys."""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Container
from functools import cache

import structlog
from flask import Flask, Request, Response, g, request

from serving.http import (
    Keys,
    TokenBuckets,
    add_headers,
    check_host,
    is_open,
    refuse_beyond_turn,
    refuse_for,
)
from serving.state import state_of

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE = "0" * 32
_BURST = 10.0  # seconds of the rate that a client may use at once
_ROW_BYTES = 45  # of a day in JSON
_CHUNKED = 2_000_000  # bytes that a body without a length is taken for
_PREDICT_ROWS = 60  # whose days hold eleven numbers each
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
log = structlog.get_logger()


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a W3C `traceparent` header, or a new one where it is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is not None and match[1] != _NO_TRACE:
        return match[1]
    return f"{_random(os.getpid()).getrandbits(128) or 1:032x}"


def _rows_of(request: Request) -> int:
    """Return the rows of a body, as its length suggests."""
    if request.path == "/predict":
        return _PREDICT_ROWS
    length = request.content_length
    if length is None:  # in chunks, of which nobody knows how many there will be
        length = _CHUNKED if "Transfer-Encoding" in request.headers else 0
    return 1 + length // _ROW_BYTES


@cache
def _random(pid: int) -> random.Random:
    """Return a generator of this process: the system's is slow, and a fork must not repeat one."""
    return random.Random(secrets.token_bytes(32))


def register(app: Flask, hosts: Container[str] | None = None) -> None:
    """Give every request a trace_id, check its key and its rate, and log and harden its answer.

    Args:
        app: the application.
        hosts: names that requests may address it by; None for any.
    """
    state = state_of(app)
    keys = Keys(state.settings.api_keys)
    rate = state.settings.rate_limit_rows
    rows = TokenBuckets(rate, _BURST * rate)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.trace_id = trace_id_of(request.headers.get("traceparent", ""))
        if not state.model.started:  # the first request of a process that nothing else started
            state.model.start()
        if hosts is not None:
            check_host(request, hosts)
        g.key = keys.check(request)
        refuse_beyond_turn(request)
        if not is_open(request.path):
            client = request.remote_addr or "" if g.key is None else f"key {g.key}"
            if seconds := rows.take(client, _rows_of(request)):
                raise refuse_for(seconds, "More rows than RATE_LIMIT_ROWS allows; send them later")

    @app.after_request
    def end(response: Response) -> Response:
        add_headers(response)
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        # The rule, not the path: clients can make up any path,
        endpoint = request.url_rule.rule if request.url_rule else "none"
        # and any method, and each would be a time series of its own.
        method = request.method if request.method in _METHODS else "other"
        state.metrics.observe(endpoint, method, response.status_code, seconds)
        log.info(
            "request",
            trace_id=g.get("trace_id"),
            method=request.method,
            path=request.path[:200],
            status=response.status_code,
            ms=round(seconds * 1000, 3),
            client=request.remote_addr,
            key=g.get("key"),
            version=g.get("version"),
        )
        return response
