"""`POST /predict` and `POST /forecast`: the calls that people wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np
import orjson
from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import ValidationError

from lib.features import FEATURES, MAX_HORIZON, known_future_after
from lib.inference import forecast_panel
from serving.http import (
    ConcurrencyLimit,
    RequestError,
    StrictRequest,
    invalid,
    refusal_of,
    release_memory,
)
from serving.records import Prediction as Record
from serving.schemas import (
    ROWS,
    SERIES,
    FieldWarning,
    Forecast,
    ForecastRequest,
    Prediction,
    Series,
    check_forecast,
    check_window,
    decode_series,
    join_series,
    last_features,
    read_sequence,
    read_series,
    split_body,
)
from serving.state import served, state_of

if TYPE_CHECKING:
    from lib.inference import Contract
    from serving.model import Served


MAX_PREDICT = 1_000_000  # bytes
MAX_FORECAST = 64_000_000
_LAG_1 = FEATURES.index("lag_1")
LARGE = 2_000_000  # bytes; of larger bodies only one is read and decoded at a time
BATCH = 64  # series computed at a time, which bounds memory
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
    warnings = check_window(rows, contract)
    near = np.datetime64(contract.training_span[1], "D")
    future = known_future_after(rows, contract.horizon, near)
    quantiles = model.batcher.predict(rows[None], future)[0]
    if not np.isfinite(quantiles).all():
        raise invalid("sequence", _UNUSABLE)
    largest = float(np.nan_to_num(np.abs(rows[:, _LAG_1])).max())
    warnings += check_forecast(quantiles, largest, "sequence")
    values, levels = quantiles.tolist(), contract.quantiles
    # A copy of the last row, or the record that waits to be written would hold all rows.
    record = Record(
        g.trace_id, model.version, levels, [values], body=body, features=rows[-1].copy()
    )
    state_of().recorder.record(record)
    return _answer(
        model,
        warnings,
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
    if small:
        return _forecast(model)
    with large_bodies.slot():
        try:
            return _forecast(model)
        finally:
            release_memory()


def _forecast(model: Served) -> Response:
    contract = model.forecaster.contract
    read, options, place = _read_body(contract)
    days, levels = options.horizon or contract.horizon, _levels(options.levels, contract.quantiles)
    context = options.context or contract.max_context
    parts = [
        _forecast_part(model, read[start : start + BATCH], context)
        for start in range(0, len(read), BATCH)
    ]
    for number, part in enumerate(parts):
        unusable = np.flatnonzero(~np.isfinite(part.quantiles).all(axis=(1, 2)))
        if len(unusable):
            raise invalid(f"{place.format(number * BATCH + unusable[0])}history", _UNUSABLE)
    warnings = [doubt for series in read for doubt in series.warnings]
    quantiles = (of_series[:days] for part in parts for of_series in part.quantiles)
    for i, (series, of_series) in enumerate(zip(read, quantiles, strict=True)):
        warnings += check_forecast(of_series, series.largest, f"{place.format(i)}history")
    forecasts = []
    for part in parts:
        _record_part(model, part, days)
        # Encoded part by part: as objects the answer would take ten times its memory.
        forecasts.append(orjson.dumps(_days_of(part, days, contract.quantiles, levels))[1:-1])
    fragment = orjson.Fragment(b"[" + b",".join(forecasts) + b"]")
    return _answer(model, warnings, forecasts=fragment, levels=levels)


@dataclass(frozen=True)
class _Part:
    """Forecasts of up to BATCH series.

    Attributes:
        ids: names of the series.
        first: (series,) datetime64[D], the first forecast day of each.
        quantiles: (series, horizon, levels of the model).
        features: (series, 11) of the last known day.
    """

    ids: tuple[str, ...]
    first: np.ndarray
    quantiles: np.ndarray
    features: np.ndarray


def _read_body(contract: Contract) -> tuple[list[Series], ForecastRequest, str]:
    """Read and check the body of this request; its memory goes when this returns.

    The other fields come first: where they are refused, no series is decoded.
    """
    body = cast(StrictRequest, request).json_bytes(keep=False)
    _check_size(body)
    sent, raw = split_body(body)
    items, place = _series_of(sent, raw)
    options = _options(sent)
    context = _within("context", options.context, contract.context_length, contract.max_context)
    _within("horizon", options.horizon, 1, contract.horizon)
    _levels(options.levels, contract.quantiles)
    return read_series(items, contract, context, place), options, place


def _forecast_part(model: Served, read: list[Series], context: int) -> _Part:
    histories = join_series(read)
    panel, origins = histories.panel, histories.origins
    quantiles = forecast_panel(model.forecaster, panel, origins, context=context, batch=BATCH)
    quantiles[histories.closed_ahead(quantiles.shape[1])] = 0.0
    return _Part(panel.ids, panel.dates[origins] + 1, quantiles, last_features(histories))


def _record_part(model: Served, part: _Part, days: int) -> None:
    for i, name in enumerate(part.ids):
        record = Record(
            g.trace_id,
            model.version,
            model.forecaster.contract.quantiles,
            part.quantiles[i, :days],
            series_id=name,
            first_date=part.first[i].item(),
            features=part.features[i],
        )
        state_of().recorder.record(record)


def _days_of(
    part: _Part, days: int, known: tuple[float, ...], levels: list[float]
) -> list[dict[str, Any]]:
    """Lay out forecasts for JSON.

    Args:
        part: forecasts of some series.
        days: of each to answer.
        known: levels of the model.
        levels: those to answer.
    """
    dates = part.first[:, None] + np.arange(days)  # (series, days)
    quantiles = part.quantiles[:, :days]
    medians = _medians(quantiles, known)
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
        for i, series_id in enumerate(part.ids)
    ]


def _medians(quantiles: np.ndarray, known: tuple[float, ...]) -> np.ndarray:
    """Return the medians (series, days) of quantiles (series, days, levels)."""
    if 0.5 in known:
        return quantiles[:, :, known.index(0.5)]
    return np.apply_along_axis(lambda q: np.interp(0.5, known, q), 2, quantiles)


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


def _series_of(sent: dict[str, Any], parts: list[msgspec.Raw] | None) -> tuple[Iterable[Any], str]:
    """Return the series of a split body, and the path of one with `{}` for its number."""
    if "" in sent:
        raise invalid("", "expected a JSON object with history or series")
    for key in sent:
        if key not in ForecastRequest.model_fields:
            raise invalid(key[:60], "is not a field of this call")
    single = {k: v for k, v in sent.items() if k in ("history", "future", "series_id")}
    if parts is None and "series" not in sent:
        if "history" not in sent:
            raise invalid("history", "is missing; expected either history or series")
        return [single], ""
    if single:
        raise invalid(next(iter(single)), "does not go together with series")
    if not parts:
        raise invalid("series", "expected a list of objects, one a series")
    if len(parts) > SERIES:
        raise invalid("series", f"expected at most {SERIES} series, got {len(parts)}")
    place = "series[{}]."
    return (decode_series(raw, place.format(i)) for i, raw in enumerate(parts)), place


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


def _answer(model: Served, warnings: list[FieldWarning], **fields: Any) -> Response:
    document = fields | {"trace_id": g.trace_id, "model_version": model.version}
    if warnings:
        document["warnings"] = [doubt._asdict() for doubt in warnings]
    return Response(orjson.dumps(document), mimetype="application/json")
