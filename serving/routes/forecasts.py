"""`POST /predict` and `POST /forecast`: the calls that people wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag
from werkzeug.exceptions import ServiceUnavailable

from serving.http import ConcurrencyLimit, StrictRequest, has_arrived, invalid, release_memory
from serving.model import (
    SeriesForecasts,
    calibrate_on,
    cost_of_calibration,
    forecast_series,
)
from serving.records import Prediction as Record
from serving.routes.answers import (
    Answer,
    encode_series,
    make_response,
    name_source,
    warn_of_source,
)
from serving.routes.next_day import UNUSABLE, answer_window, read_window
from serving.routes.planning import plan_forecasts
from serving.schemas import (
    FieldWarning,
    Forecast,
    ForecastCall,
    Plan,
    Prediction,
    check_forecast,
    join_series,
    read_forecast,
    read_plan,
)
from serving.state import served, state_of

if TYPE_CHECKING:
    from serving.model import Served


MAX_PREDICT = 1_000_000  # bytes
MAX_FORECAST = 64_000_000
LARGE = 2_000_000  # bytes; of larger bodies only one is decoded at a time
# A body of few bytes may ask for much: days of a history that a forecast takes as long as, whatever
# its length, a total, and a total that is added to that of a group.
_ROWS_EACH, _ROWS_A_TOTAL, _ROWS_A_MEMBER = 365, 40, 1
LATER = 5  # seconds after which to send a large body again
large_bodies = ConcurrencyLimit(
    1,
    wait=0,
    retry_after=LATER,
    detail="Another large body is being forecast; try again later, or send fewer series at once",
)
unmeasured_bodies = ConcurrencyLimit(
    1,
    wait=0,
    retry_after=LATER,
    detail="Another body without Content-Length is being received; send the length to be let in",
)
calls = APIBlueprint("forecasts", __name__, abp_tags=[Tag(name="forecasts")])


@calls.post("/predict", responses={200: Prediction})
def predict() -> Response:
    """Forecast the next day from the feature rows of the last days."""
    model = served()
    g.version = model.version
    request.max_content_length = MAX_PREDICT
    body = cast(StrictRequest, request).json_bytes()
    window = read_window(model.forecaster.contract, body)
    quantiles = window.forecast(model)
    answer = answer_window(model, window, quantiles, g.trace_id, state_of().recorder)
    return make_response(model, answer)


@calls.post("/forecast", responses={200: Forecast})
def forecast() -> Response:
    """Forecast the days after a history of raw values, of one series or many."""
    model = served()
    g.version = model.version
    body = _read_body()
    if len(body[0]) <= LARGE:
        response = _forecast(model, body)
        if (response.content_length or 0) > LARGE:  # many totals and scenarios of a few rows
            release_memory()
        return response
    with large_bodies.slot():
        try:
            return _forecast(model, body)
        finally:
            release_memory()


def _read_body() -> list[bytes]:
    """Return the body in a list: whoever takes it out of there is its only owner."""
    request.max_content_length = MAX_FORECAST
    sent = cast(StrictRequest, request)
    length = request.content_length
    if length is None:
        # It comes in pieces and may be of any size. Reading it holds a thread.
        with unmeasured_bodies.slot():
            return [sent.json_bytes(keep=False)]
    if LARGE < length <= MAX_FORECAST and not has_arrived(request):
        raise ServiceUnavailable(
            "Too many large bodies are being received; try again later, or send fewer series",
            retry_after=LATER,
        )
    return [sent.json_bytes(keep=False)]


def _forecast(model: Served, body: list[bytes]) -> Response:
    call = read_forecast(body.pop(), model.forecaster.contract)
    contract, forecaster, sent = call.contract, model.forecaster, None
    plan = read_plan(call.options, call.series, contract, call.horizon)
    g.rows = _rows_of(call, plan)
    if contract.is_uncalibrated:
        g.rows += cost_of_calibration(contract, call.series)
        forecaster = calibrate_on(forecaster, join_series(call.series, contract))
        sent = contract.settings["covariates"]
    parts = list(forecast_series(forecaster, call.series, call.context))
    warnings = _check_forecasts(call, parts)
    warnings += warn_of_source(model, call.field(0, "history"), sent)
    further: list[list[dict[str, Any]]] = [[] for _ in parts]
    fields: dict[str, Any] = dict(name_source(model))
    if plan is not None:
        warnings += plan.warnings
        further, planned, doubts = plan_forecasts(forecaster, call, plan, parts)
        fields |= planned
        warnings += doubts
    forecasts, not_stored = [], 0
    for part, beside in zip(parts, further, strict=True):
        not_stored += _record_part(model, part, call.horizon)
        # Encoded part by part: as objects the answer would take ten times its memory.
        forecasts.append(encode_series(part, call.horizon, contract.quantiles, call.levels, beside))
    fragment = orjson.Fragment(b"[" + b",".join(forecasts) + b"]")
    fields |= {"forecasts": fragment, "levels": call.levels}
    return make_response(model, Answer(fields, warnings, not_stored))


def _rows_of(call: ForecastCall, plan: Plan | None) -> int:
    """Return the days of history that are as much work as a call."""
    series = len(call.series)
    if plan is None:
        return _ROWS_EACH * series
    futures = 1 + len(plan.scenarios)
    alone = sum(len(split) for split in plan.alone.values())
    totals = futures * sum(map(len, plan.ranges))
    members = futures * sum(len(group.members) * len(group.ranges) for group in plan.groups)
    rows = _ROWS_EACH * series * (futures + alone)
    return rows + _ROWS_A_TOTAL * totals + _ROWS_A_MEMBER * members


def _check_forecasts(call: ForecastCall, parts: list[SeriesForecasts]) -> list[FieldWarning]:
    """Return the warnings of a call. Raises RequestError (422) for a series without a forecast."""
    warnings = [doubt for series in call.series for doubt in series.warnings]
    warnings += [FieldWarning("series", doubt) for part in parts for doubt in part.doubts]
    of_series = [quantiles for part in parts for quantiles in part.quantiles]
    for i, quantiles in enumerate(of_series):
        if not np.isfinite(quantiles).all():
            raise invalid(call.field(i, "history"), UNUSABLE)
    for i, (series, quantiles) in enumerate(zip(call.series, of_series, strict=True)):
        field = call.field(i, "history")
        warnings += check_forecast(quantiles[: call.horizon], series.largest, field)
    return warnings


def _record_part(model: Served, part: SeriesForecasts, days: int) -> int:
    """Have forecasts stored, and return how many of them cannot be."""
    levels = model.forecaster.contract.quantiles
    records = [
        Record(
            g.trace_id,
            model.version,
            levels,
            part.quantiles[i, :days],
            series_id=name,
            first_date=part.first[i].item(),
            features=part.features[i],
            covariates=part.covariates[i] or None,
            recent=part.recent[i] or None,
        )
        for i, name in enumerate(part.ids)
    ]
    return state_of().recorder.record_all(records)
