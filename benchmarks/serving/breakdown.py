"""Where the time of one `/predict` goes, by doing its parts alone and then together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
from flask.testing import FlaskClient

from lib.features import known_future_after
from lib.inference import ServedModel
from lib.log import configure_logging
from lib.settings import get_settings
from serving.app import create_app
from serving.fast_predict import FastPredict
from serving.http import JSON_HEADERS
from serving.http.usual_request import LINE, read_usual_head, write_answer
from serving.model import LiveModel
from serving.records.bodies import pack_body
from serving.routes.next_day import answer_window, read_window
from serving.schemas import check_window, read_sequence
from serving.state import state_of

TIMES = 400


def breakdown(model: ServedModel, body: bytes, folder: Path) -> dict[str, float]:
    """Milliseconds of each part (medians), one thread, nothing else running, lines to a file."""
    configure_logging("INFO")
    contract = model.contract
    places = {"database_url": f"sqlite:///{folder}/breakdown.db", "rate_limit_rows": 0}
    live = LiveModel(get_settings())
    live.refresh()
    app = create_app(get_settings().model_copy(update=places), model=live)
    client = app.test_client()
    post(client, body)  # the first one starts the model's thread
    fast, current = app.wsgi_app, live.current()
    if current is None or not isinstance(fast, FastPredict):
        raise RuntimeError("no model is served")
    length = f"Content-Length: {len(body)}".encode()
    head = b"\r\n".join([LINE[:-2], b"Host: here", b"Content-Type: application/json", length, b""])
    environ = read_usual_head(head) or {}
    rows = read_sequence(body, contract.context_length)
    near = np.datetime64(contract.training_span[1], "D")
    future = known_future_after(rows, contract.horizon, near)
    window, quantiles = read_window(contract, body), model.predict(rows[None], future)[0]
    recorder = state_of(app).recorder
    calls = [fast.prepare(environ, body) for _ in range(16)]
    text = answer_window(current, window, quantiles, "t", recorder).encode("t", 1)
    with (folder / "lines").open("w") as lines, redirect_stderr(lines):
        configure_logging("INFO")
        parts = {
            "HTTP head in": median(lambda: read_usual_head(head)),
            "JSON in and validation": median(lambda: read_sequence(body, contract.context_length)),
            "checks of the numbers": median(lambda: check_window(rows, contract)),
            "calendar of the days ahead": median(
                lambda: known_future_after(rows, contract.horizon, near)
            ),
            "inference, alone": median(lambda: model.predict(rows[None], future)),
            "inference, a sixteenth of 16": median(lambda: fast.answer(calls)) / 16,
            "answer, and its record queued": median(
                lambda: answer_window(current, window, quantiles, "t", recorder).encode("t", 1)
            ),
            "HTTP head out": median(lambda: write_answer(text, [*JSON_HEADERS], closes=False)),
            "counted and logged, after it is sent": median(lambda: fast.report(calls[:1])),
            "packed for the database, in the background": median(lambda: pack_body(rows)),
            "all but the network": median(lambda: fast.answer([fast.prepare(environ, body)])),
            "the same through Flask (its test client)": median(lambda: post(client, body)),
            "an empty request through Flask (/health/live)": median(
                lambda: client.get("/health/live")
            ),
        }
    recorder.close()
    return parts


def post(client: FlaskClient, body: bytes) -> object:
    """One `/predict`."""
    return client.post("/predict", data=body, content_type="application/json")


def median(call: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    for _ in range(20):
        call()
    seconds = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(seconds), 4)
