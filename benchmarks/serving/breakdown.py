"""Where the time of one `/predict` goes, by doing its parts alone and then together."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flask.testing import FlaskClient

from lib.features import known_future_after
from lib.inference import ServedModel
from lib.log import configure_logging
from lib.settings import get_settings
from serving.app import create_app
from serving.model.live_model import LiveModel
from serving.records.predictions import Recorder
from serving.schemas.feature_rows import read_sequence
from serving.state import state_of

TIMES = 400


def breakdown(model: ServedModel, body: bytes, folder: Path) -> dict[str, float]:
    """Milliseconds of each part (medians), one thread, nothing else running, no log lines."""
    configure_logging("WARNING")
    contract = model.contract
    rows = read_sequence(body, contract.context_length)
    near = np.datetime64(contract.training_span[1], "D")
    future = known_future_after(rows, contract.horizon, near)
    answer = {"quantiles": model.predict(rows[None], future)[0].tolist()}
    places = {"database_url": f"sqlite:///{folder}/breakdown.db"}
    live = LiveModel(get_settings())
    live.refresh()
    app = create_app(get_settings().model_copy(update=places), model=live)
    client = app.test_client()
    parts = {
        "JSON in": median(lambda: json.loads(body)),
        "JSON in and validation": median(lambda: read_sequence(body, contract.context_length)),
        "calendar of the days ahead": median(
            lambda: known_future_after(rows, contract.horizon, near)
        ),
        "inference": median(lambda: model.predict(rows[None], future)),
        "JSON out": median(lambda: json.dumps(answer)),
        "whole request without network (Flask's test client)": median(lambda: post(client, body)),
        "an empty request (Flask's test client, /health/live)": median(
            lambda: client.get("/health/live")
        ),
    }
    parts |= keeping(state_of(app).recorder, lambda: post(client, body))
    state_of(app).recorder.close()
    return parts


def post(client: FlaskClient, body: bytes) -> object:
    """One `/predict`."""
    return client.post("/predict", data=body, content_type="application/json")


def keeping(recorder: Recorder, request: Callable[[], object]) -> dict[str, float]:
    """The request in turns with one of which nothing is stored."""
    keep = recorder.record
    found: dict[str, list[float]] = {
        "whole request, in turns": [],
        "… of which nothing is kept": [],
    }
    for _ in range(5):
        for name, told in zip(found, (keep, lambda record: None), strict=True):
            recorder.record = told
            found[name].append(median(request))
    recorder.record = keep
    return {name: statistics.median(times) for name, times in found.items()}


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
