"""`POST /predict` and `POST /forecast`: the calls that people wait for."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import ValidationError

from lib.features import MAX_HORIZON, known_future_after
from lib.inference import forecast_panel
from serving.http.limits import ConcurrencyLimit
from serving.http.problems import RequestError, invalid, refusal_of
from serving.http.strict_json import StrictRequest, loads
from serving.records.predictions import Prediction as Record
from serving.schemas.api import ROWS, SERIES, Forecast, ForecastRequest, Prediction
from serving.schemas.feature_rows import sequence_of
from serving.schemas.histories import histories_of, last_features
from serving.state import served, state_of

if TYPE_CHECKING:
    from serving.model.live_model import Served


MAX_PREDICT = 1_000_000  # bytes
MAX_FORECAST = 64_000_000
LARGE = 2_000_000  # bytes, from which on a body is read and parsed beside no other such
BATCH = 1_000
large_bodies = ConcurrencyLimit(
    1,
    wait=0,
    retry_after=5,
    detail="Another large body is being forecast; try again later, or send fewer series at once",
)
calls = APIBlueprint("forecasts", __name__, abp_tags=[Tag(name="forecasts")])


@calls.post("/predict", responses={200: Prediction})
def predict() -> Response:
    """Forecast the next day from the feature rows of the last days."""
    model = served()
    g.version = model.version
    request.max_content_length = MAX_PREDICT
    body = cast(StrictRequest, request).json_bytes()
    contract = model.forecaster.contract
    rows = sequence_of(body, contract.context_length)
    near = np.datetime64(contract.training_span[1], "D")
    future = known_future_after(rows, contract.horizon, near)
    quantiles = model.batcher.predict(rows[None], future)[0]
    numbers = quantiles.tolist()
    if not np.isfinite(quantiles).all():
        raise invalid("sequence", _UNUSABLE)
    levels = contract.quantiles
    # A copy, or what waits to be written would hold all rows.
    last = rows[-1].copy()
    record = Record(g.trace_id, model.version, levels, [numbers], body=body, features=last)
    state_of().recorder.prediction(record)
    return _json(
        {
            "prediction": float(np.interp(0.5, levels, numbers)),
            "quantiles": dict(zip(_names(levels), numbers, strict=True)),
            "trace_id": g.trace_id,
            "model_version": model.version,
        }
    )


@calls.post("/forecast", responses={200: Forecast})
def forecast() -> Response:
    """Forecast the days after a history of raw values, of one series or many."""
    model = served()
    g.version = model.version
    request.max_content_length = MAX_FORECAST
    # Without a length, in pieces, it may be of any size.
    small = request.content_length is not None and request.content_length <= LARGE
    with nullcontext() if small else large_bodies.one():
        return _forecast(model)


def _forecast(model: Served) -> Response:
    body = cast(StrictRequest, request).json_bytes()
    _bounded(body)
    asked = loads(body)
    items, place = _series_of(asked)
    contract = model.forecaster.contract
    options = _options(asked)
    context = _within(
        "context", options.context, contract.context_length, contract.max_context, "days"
    )
    days = _within("horizon", options.horizon, 1, contract.horizon, "days")
    levels = _levels(options.levels, contract.quantiles)
    found = histories_of(items, contract, context, place)
    whole = forecast_panel(
        model.forecaster, found.panel, found.origins, context=context, batch=BATCH
    )  # (series, horizon, quantiles)
    if not np.isfinite(whole).all():
        i = int(np.flatnonzero(~np.isfinite(whole).all(axis=(1, 2)))[0])
        raise invalid(f"{place.format(i)}history", _UNUSABLE)
    whole = whole[:, :days]
    dates = found.panel.dates[found.origins][:, None] + np.arange(1, days + 1)
    medians = np.apply_along_axis(lambda q: np.interp(0.5, contract.quantiles, q), 2, whole)
    chosen = whole[:, :, [contract.quantiles.index(level) for level in levels]]
    names, forecasts = _names(levels), []
    last = last_features(found)
    for i, name in enumerate(found.panel.ids):
        rows = zip(
            dates[i].astype(str).tolist(), medians[i].tolist(), chosen[i].tolist(), strict=True
        )
        forecasts.append(
            {
                "series_id": name,
                "forecast": [
                    {"date": d, "prediction": m, "quantiles": dict(zip(names, q, strict=True))}
                    for d, m, q in rows
                ],
            }
        )
        first = dates[i, 0].item()
        record = Record(
            g.trace_id,
            model.version,
            contract.quantiles,
            whole[i],
            series_id=name,
            first_date=first,
            features=last[i],
        )
        state_of().recorder.prediction(record)
    return _json(
        {
            "forecasts": forecasts,
            "levels": list(levels),
            "trace_id": g.trace_id,
            "model_version": model.version,
        }
    )


def _bounded(body: bytes) -> None:
    """Raises RequestError (413) for what has more in it than the limits allow.

    What is parsed takes thirty times the memory of the body, so this is looked at before.
    """
    for sign, most in _MOST.items():
        if (found := body.count(sign)) > most:
            raise RequestError(
                413,
                f"the body has {found} times {sign.decode()!r}, more than {SERIES} series with "
                f"{ROWS} days in all can have; send it in several calls",
            )


_PLANNED = SERIES * MAX_HORIZON  # days of `future`
_IN_NAMES = SERIES * 200  # names may hold any of these signs
_MOST = {
    b"{": 1 + SERIES + ROWS + _PLANNED + _IN_NAMES,
    b"[": 2 + 2 * SERIES + _IN_NAMES,
    # Up to four fields a day, three a series; levels and the fields of the call.
    b",": 4 * (ROWS + _PLANNED) + 4 * SERIES + 200 + _IN_NAMES,
}
_UNUSABLE = "the model has no forecast for these numbers; they are too large, or none is known"
_OPTIONS = ("horizon", "levels", "context")


def _series_of(asked: Any) -> tuple[list[dict[str, Any]], str]:
    """The posted series, and how to name their fields."""
    if not isinstance(asked, dict):
        raise invalid("", "expected a JSON object with history or series")
    for key in asked:
        if key not in ForecastRequest.model_fields:
            raise invalid(key[:60], "is not a field of this call")
    single = {k: v for k, v in asked.items() if k in ("history", "future", "series_id")}
    if "series" not in asked:
        if "history" not in asked:
            raise invalid("history", "is missing; expected either history or series")
        return [single], ""
    if single:
        raise invalid(next(iter(single)), "does not go together with series")
    if not isinstance(asked["series"], list) or not asked["series"]:
        raise invalid("series", "expected a list of objects, one a series")
    return asked["series"], "series[{}]."


def _options(asked: dict[str, Any]) -> ForecastRequest:
    """What else is asked for, checked by the model without its rows."""
    given = {k: v for k, v in asked.items() if k in _OPTIONS}
    day = {"date": "2026-01-01", "value": None}
    try:
        return ForecastRequest.model_validate({**given, "history": [day]})
    except ValidationError as error:
        raise refusal_of(error) from None


def _within(field: str, asked: int | None, low: int, high: int, unit: str) -> int:
    """A number of the request, by default the highest."""
    if asked is None:
        return high
    if not low <= asked <= high:
        raise invalid(field, f"this model takes {low} to {high} {unit}, got {asked}")
    return asked


def _levels(asked: list[float] | None, known: tuple[float, ...]) -> list[float]:
    if asked is None:
        return list(known)
    for i, level in enumerate(asked):
        if level not in known:
            raise invalid(f"levels[{i}]", f"this model has {', '.join(_names(known))}")
    return sorted(set(asked))


def _names(levels: Any) -> list[str]:
    return [f"{level:g}" for level in levels]


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), mimetype="application/json")
