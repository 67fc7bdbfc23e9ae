"""`POST /predict` and `POST /forecast`: the calls that people wait for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import ValidationError

from lib.features import MAX_HORIZON, known_future_after
from lib.inference import forecast_panel
from serving.http import (
    ConcurrencyLimit,
    RequestError,
    StrictRequest,
    decode_json,
    invalid,
    refusal_of,
)
from serving.records import Prediction as Record
from serving.schemas import (
    ROWS,
    SERIES,
    Forecast,
    ForecastRequest,
    Prediction,
    last_features,
    read_histories,
    read_sequence,
)
from serving.state import served, state_of

if TYPE_CHECKING:
    from serving.model import Served


MAX_PREDICT = 1_000_000  # bytes
MAX_FORECAST = 64_000_000
LARGE = 2_000_000  # bytes; of larger bodies only one is read and decoded at a time
BATCH = 1_000  # series of one inference
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
    rows = read_sequence(body, contract.context_length)
    near = np.datetime64(contract.training_span[1], "D")
    future = known_future_after(rows, contract.horizon, near)
    quantiles = model.batcher.predict(rows[None], future)[0]
    if not np.isfinite(quantiles).all():
        raise invalid("sequence", _UNUSABLE)
    values, levels = quantiles.tolist(), contract.quantiles
    # A copy of the last row, or the record that waits to be written would hold all rows.
    record = Record(
        g.trace_id, model.version, levels, [values], body=body, features=rows[-1].copy()
    )
    state_of().recorder.record(record)
    return _answer(
        model,
        prediction=float(np.interp(0.5, levels, values)),
        quantiles=dict(zip(_names(levels), values, strict=True)),
    )


@calls.post("/forecast", responses={200: Forecast})
def forecast() -> Response:
    """Forecast the days after a history of raw values, of one series or many."""
    model = served()
    g.version = model.version
    request.max_content_length = MAX_FORECAST
    # A body without a length comes in pieces, and may be of any size.
    small = request.content_length is not None and request.content_length <= LARGE
    with nullcontext() if small else large_bodies.slot():
        return _forecast(model)


def _forecast(model: Served) -> Response:
    body = cast(StrictRequest, request).json_bytes()
    _check_size(body)
    sent = decode_json(body)
    items, place = _series_of(sent)
    contract = model.forecaster.contract
    options = _options(sent)
    context = _within("context", options.context, contract.context_length, contract.max_context)
    days = _within("horizon", options.horizon, 1, contract.horizon)
    levels = _levels(options.levels, contract.quantiles)
    histories = read_histories(items, contract, context, place)
    panel, origins = histories.panel, histories.origins
    quantiles = forecast_panel(
        model.forecaster, panel, origins, context=context, batch=BATCH
    )  # (series, horizon, quantiles)
    if not np.isfinite(quantiles).all():
        i = int(np.flatnonzero(~np.isfinite(quantiles).all(axis=(1, 2)))[0])
        raise invalid(f"{place.format(i)}history", _UNUSABLE)
    quantiles = quantiles[:, :days]
    dates = panel.dates[origins][:, None] + np.arange(1, days + 1)  # (series, days)
    features = last_features(histories)
    for i, name in enumerate(panel.ids):
        record = Record(
            g.trace_id,
            model.version,
            contract.quantiles,
            quantiles[i],
            series_id=name,
            first_date=dates[i, 0].item(),
            features=features[i],
        )
        state_of().recorder.record(record)
    forecasts = _days_of(panel.ids, dates, quantiles, contract.quantiles, levels)
    return _answer(model, forecasts=forecasts, levels=levels)


def _days_of(
    ids: tuple[str, ...],
    dates: np.ndarray,
    quantiles: np.ndarray,
    known: tuple[float, ...],
    levels: list[float],
) -> list[dict[str, Any]]:
    """Lay out forecasts for JSON.

    Args:
        ids: names of the series.
        dates: (series, days).
        quantiles: (series, days, known levels).
        known: levels of the model.
        levels: those to answer.
    """
    medians = np.apply_along_axis(lambda q: np.interp(0.5, known, q), 2, quantiles)
    chosen = quantiles[:, :, [known.index(level) for level in levels]]
    names = _names(levels)
    return [
        {
            "series_id": series_id,
            "forecast": [
                {"date": d, "prediction": m, "quantiles": dict(zip(names, q, strict=True))}
                for d, m, q in zip(
                    dates[i].astype(str).tolist(),
                    medians[i].tolist(),
                    chosen[i].tolist(),
                    strict=True,
                )
            ],
        }
        for i, series_id in enumerate(ids)
    ]


def _check_size(body: bytes) -> None:
    """Raise RequestError (413) for more series or days than the limits allow.

    A decoded body takes thirty times its memory, so this is checked before.
    """
    for sign, most in _MOST.items():
        if (count := body.count(sign)) > most:
            raise RequestError(
                413,
                f"the body has {count} times {sign.decode()!r}, more than {SERIES} series with "
                f"{ROWS} days in all can have; send it in several calls",
            )


_PLANNED = SERIES * MAX_HORIZON  # days of `future`
_IN_NAMES = SERIES * 200  # names may hold any of these signs
_MOST = {
    b"{": 1 + SERIES + ROWS + _PLANNED + _IN_NAMES,
    b"[": 2 + 2 * SERIES + _IN_NAMES,
    # Up to four fields a day, three a series; levels and the other fields of the call.
    b",": 4 * (ROWS + _PLANNED) + 4 * SERIES + 200 + _IN_NAMES,
}
_UNUSABLE = "the model has no forecast for these numbers; they are too large, or none is known"
_OPTIONS = ("horizon", "levels", "context")


def _series_of(sent: Any) -> tuple[list[dict[str, Any]], str]:
    """Return the series of a body, and the path of one with `{}` for its number."""
    if not isinstance(sent, dict):
        raise invalid("", "expected a JSON object with history or series")
    for key in sent:
        if key not in ForecastRequest.model_fields:
            raise invalid(key[:60], "is not a field of this call")
    single = {k: v for k, v in sent.items() if k in ("history", "future", "series_id")}
    if "series" not in sent:
        if "history" not in sent:
            raise invalid("history", "is missing; expected either history or series")
        return [single], ""
    if single:
        raise invalid(next(iter(single)), "does not go together with series")
    if not isinstance(sent["series"], list) or not sent["series"]:
        raise invalid("series", "expected a list of objects, one a series")
    return sent["series"], "series[{}]."


def _options(sent: dict[str, Any]) -> ForecastRequest:
    """Return the other fields of a body, checked by their model without the rows."""
    options = {k: v for k, v in sent.items() if k in _OPTIONS}
    day = {"date": "2026-01-01", "value": None}
    try:
        return ForecastRequest.model_validate({**options, "history": [day]})
    except ValidationError as error:
        raise refusal_of(error) from None


def _within(field: str, days: int | None, low: int, high: int) -> int:
    """Return a number of days, by default the highest; refuse one that is out of range."""
    if days is None:
        return high
    if not low <= days <= high:
        raise invalid(field, f"this model takes {low} to {high} days, got {days}")
    return days


def _levels(wanted: list[float] | None, known: tuple[float, ...]) -> list[float]:
    if wanted is None:
        return list(known)
    for i, level in enumerate(wanted):
        if level not in known:
            raise invalid(f"levels[{i}]", f"this model has {', '.join(_names(known))}")
    return sorted(set(wanted))


def _names(levels: Any) -> list[str]:
    return [f"{level:g}" for level in levels]


def _answer(model: Served, **fields: Any) -> Response:
    document = fields | {"trace_id": g.trace_id, "model_version": model.version}
    return Response(orjson.dumps(document), mimetype="application/json")
