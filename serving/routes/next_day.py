"""Forecast the day after a window: what `/predict` answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from lib.features import FEATURES, known_future_after
from serving.http import invalid
from serving.records import Prediction as Record
from serving.routes.answers import Answer, interpolate_medians, name_source, warn_of_source
from serving.schemas import (
    FieldWarning,
    check_forecast,
    check_window,
    name_levels,
    read_sequence,
)

if TYPE_CHECKING:
    from lib.inference import Contract
    from serving.model import Served
    from serving.records import Recorder

_LAG_1 = FEATURES.index("lag_1")
UNUSABLE = "the model has no forecast for these numbers; they are too large, or none is known"


@dataclass(frozen=True)
class Window:
    """What a `/predict` is about.

    Attributes:
        rows: (days, 11), raw units, NaN where missing.
        future: (1, horizon, len(FUTURE)), NaN where not known.
        warnings: of the numbers.
    """

    rows: np.ndarray
    future: np.ndarray
    warnings: list[FieldWarning]

    def forecast(self, model: Served) -> np.ndarray:
        """Return the quantiles (horizon, levels), raw units."""
        return model.batcher.predict(self.rows[None], self.future)


def read_window(contract: Contract, body: bytes) -> Window:
    """Read the body of a `/predict`.

    Raises:
        RequestError: 400 for bad JSON, 422 naming the field for anything else.
    """
    rows = read_sequence(body, contract.context_length)
    near = np.datetime64(contract.training_span[1], "D")
    future = known_future_after(rows, contract.horizon, near)
    return Window(rows, future, check_window(rows, contract))


def answer_window(
    model: Served, window: Window, quantiles: np.ndarray, trace_id: str, recorder: Recorder
) -> Answer:
    """Make the answer of a forecast, and have it stored.

    Args:
        model: that answers.
        window: that the forecast is about.
        quantiles: (horizon, levels) of the forecast; its first day is the answer.
        trace_id: of the request.
        recorder: that stores the forecast.

    Raises:
        RequestError: 422, the model has no forecast.
    """
    first, levels = quantiles[0], model.forecaster.contract.quantiles
    values = first.tolist()
    if not all(map(isfinite, values)):
        raise invalid("sequence", UNUSABLE)
    largest = float(np.fmax.reduce(np.abs(window.rows[:, _LAG_1]), initial=0.0))
    warnings = window.warnings + check_forecast(first, largest, "sequence")
    warnings += warn_of_source(model, "sequence")
    record = Record(
        trace_id, model.version, levels, [values], body=window.rows, features=window.rows[-1]
    )
    fields = {
        "prediction": float(interpolate_medians(first, levels)),
        "quantiles": dict(zip(_names(levels), values, strict=True)),
        **name_source(model),
    }
    return Answer(fields, warnings, not_stored=int(not recorder.record(record)))


@lru_cache(maxsize=4)
def _names(levels: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(name_levels(levels))
