"""Answer the usual `/predict` without Flask, and several that arrive together in one batch.

Only what is certain to be answered with 200 is answered here. Anything else, such as a body that is
wrong, a key that is missing or a header that is seldom sent, goes through Flask, which gives the
same answers and words the refusals.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.gate import Gate
from serving.http import JSON_HEADERS
from serving.request_log import log_request, trace_id_of
from serving.routes.answers import Answer
from serving.routes.forecasts import MAX_PREDICT
from serving.routes.next_day import Window, answer_window, read_window
from serving.state import State

if TYPE_CHECKING:
    from serving.model import Served

_PATH = "/predict"
Sent = tuple[bytes, list[tuple[str, str]]]  # the body of an answer, and its headers


@dataclass(slots=True)
class Call:
    """A `/predict` that was let in and read; `ended` when it has its answer."""

    model: Served
    window: Window
    trace_id: str
    key: int | None
    address: str | None
    started: float
    ended: float = 0.0


class FastPredict:
    """A WSGI application in front of Flask's."""

    def __init__(self, app: Any, state: State, gate: Gate) -> None:
        """Take the application behind, its parts, and who is let in."""
        self._app = app
        self._state = state
        self._gate = gate

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        if environ["PATH_INFO"] == _PATH and environ["REQUEST_METHOD"] == "POST":
            answer = self._answer(environ)
            if answer is not None:
                text, headers = answer
                start_response("200 OK", headers)
                return [text]
        return self._app(environ, start_response)

    def prepare(self, environ: dict[str, Any], body: bytes) -> Call | None:
        """Let a call in and read it; None where Flask has to answer."""
        started = time.perf_counter()
        model = self._state.model.current()
        if model is None or not self._state.model.started or len(body) > MAX_PREDICT:
            return None
        is_known, key = self._gate.recognizes(environ)
        if not is_known or environ.get("CONTENT_TYPE") != "application/json":
            return None
        if not self._gate.has_rows(environ, key):
            return None
        try:
            window = read_window(model.forecaster.contract, body)
        except Exception:  # noqa: BLE001 - Flask fails in the same way, and words it
            return None
        trace_id = trace_id_of(environ.get("HTTP_TRACEPARENT", ""))
        return Call(model, window, trace_id, key, environ.get("REMOTE_ADDR"), started)

    def answer(self, calls: Sequence[Call]) -> list[Sent | None]:
        """Answer calls that were prepared, in one batch; None for each that Flask has to answer."""
        try:
            quantiles = _forecast(calls)
        except Exception:  # noqa: BLE001 - as above
            return [None] * len(calls)
        return [self._finish(call, q) for call, q in zip(calls, quantiles, strict=True)]

    def _answer(self, environ: dict[str, Any]) -> Sent | None:
        length = environ.get("CONTENT_LENGTH", "")
        if not length.isdecimal() or "HTTP_TRANSFER_ENCODING" in environ:
            return None
        if int(length) > MAX_PREDICT or not self._gate.recognizes(environ)[0]:
            return None
        body = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"] = io.BytesIO(body)  # for Flask, if it has to answer
        call = self.prepare(environ, body) if len(body) == int(length) else None
        answer = None if call is None else self.answer([call])[0]
        if call is not None and answer is not None:
            self.report([call])
        return answer

    def report(self, calls: Sequence[Call]) -> None:
        """Count and log calls that were answered."""
        for call in calls:
            seconds = call.ended - call.started
            self._state.metrics.observe(_PATH, "POST", 200, seconds)
            log_request(
                trace_id=call.trace_id,
                method="POST",
                path=_PATH,
                status=200,
                seconds=seconds,
                client=call.address,
                key=call.key,
                version=call.model.version,
            )

    def _finish(self, call: Call, quantiles: np.ndarray) -> Sent | None:
        """Store and encode one answer."""
        try:
            answer: Answer = answer_window(
                call.model, call.window, quantiles, call.trace_id, self._state.recorder
            )
        except Exception:  # noqa: BLE001 - as above
            return None
        text = answer.encode(call.trace_id, call.model.version)
        call.ended = time.perf_counter()
        return text, [*JSON_HEADERS, ("Content-Length", str(len(text))), *answer.headers()]


def _forecast(calls: Sequence[Call]) -> list[np.ndarray]:
    """Return the quantiles (horizon, levels) of each call."""
    if len(calls) == 1:
        return [calls[0].window.forecast(calls[0].model)]
    model = calls[0].model
    if any(call.model is not model for call in calls):  # a promotion came between
        return [call.window.forecast(call.model) for call in calls]
    features = np.stack([call.window.rows for call in calls])
    future = np.concatenate([call.window.future for call in calls])
    return list(model.forecaster.predict(features, future))
