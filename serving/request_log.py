"""One line a request: who asked what is in it, the body and the keys are not."""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from functools import cache

import structlog
from flask import Flask, Response, g, request

from serving.http.security import Keys, add_headers
from serving.state import state_of

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE = "0" * 32
log = structlog.get_logger()


def trace_id_of(traceparent: str) -> str:
    """The trace of a W3C `traceparent` header, or a new one where there is none that is valid."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is not None and found[1] != _NO_TRACE:
        return found[1]
    return f"{_random(os.getpid()).getrandbits(128) or 1:032x}"


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@cache
def _random(pid: int) -> random.Random:
    """Seeded once a process: asking the system each time is slow, a fork must not repeat it."""
    return random.Random(secrets.token_bytes(32))


def register(app: Flask) -> None:
    """Give every request a trace_id, check its key, and log, count and harden its answer."""
    state = state_of(app)
    keys = Keys(state.settings.api_keys)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.trace_id = trace_id_of(request.headers.get("traceparent", ""))
        if not state.model.started:  # the first request of a process that nothing else started
            state.model.start()
        keys.check(request)

    @app.after_request
    def end(response: Response) -> Response:
        add_headers(response)
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        # The rule, not the path: paths are anybody's to make up.
        endpoint = request.url_rule.rule if request.url_rule else "none"
        # and so is the method, which would make a new series of numbers each
        method = request.method if request.method in _METHODS else "other"
        state.metrics.observe(endpoint, method, response.status_code, seconds)
        log.info(
            "request",
            trace_id=g.get("trace_id"),
            method=request.method,
            path=request.path[:200],
            status=response.status_code,
            ms=round(seconds * 1000, 3),
            version=g.get("version"),
        )
        return response
