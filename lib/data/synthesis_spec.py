"""The specification of a synthetic panel: sizes, strengths and frequencies, each with bounds."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any

import holidays
import numpy as np

MAX_LAG = 27  # days until fator_externo acts, at most
_TYPES = {"int": int, "float": float, "str": str, "bool": bool}


class SpecError(ValueError):
    """A synthesis spec with a wrong type or a value out of range."""


def _dial(default: Any, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "meaning": meaning})


@dataclass(frozen=True)
class SynthesisSpec:
    """Sizes and strengths of what `synthesize` draws.

    Raises:
        SpecError: names the field, its value and what is expected.
    """

    n_series: int = _dial(4, 1, 99_999, "series")
    n_days: int = _dial(1095, 2, 40_000, "days")
    start: str = "2021-01-01"
    country: str = "BR"  # code of the holidays library; "" = no holidays
    level: float = _dial(200.0, 1e-9, 1e12, "typical value")
    trend: float = _dial(0.12, 0.0, 1.0, "yearly slope and level jump, share of the level")
    regime_days: int = _dial(540, 30, 40_000, "mean days between trend changes")
    noise: float = _dial(0.06, 0.0, 1.0, "standard deviation on a calm day, share of the trend")
    volatility: float = _dial(0.6, 0.0, 5.0, "how much noisier a turbulent day is (0.6 = +60 %)")
    weekly: float = _dial(0.18, 0.0, 1.0, "amplitude of the week, share of the trend")
    yearly: float = _dial(0.12, 0.0, 1.0, "amplitude of the year, share of the trend")
    amplitude_drift: float = _dial(0.3, 0.0, 1.0, "how far both amplitudes wander, share of them")
    holiday: float = _dial(0.25, -1.0, 2.0, "rise on a mean public holiday, share of the trend")
    factor: float = _dial(0.06, -1.0, 1.0, "rise per 5 units of fator_externo, share of the trend")
    factor_lag: int = _dial(1, 0, MAX_LAG, "days until fator_externo acts")
    event: float = _dial(0.3, -1.0, 5.0, "rise on the day of a full-strength event, share")
    events_per_year: float = _dial(10.0, 0.0, 24.0, "special events per year and series")
    anomaly: float = _dial(0.01, 0.0, 0.3, "share of anomalous days")
    missing: float = _dial(0.025, 0.0, 0.5, "share of missing days")
    non_negative: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            self._check_type(item)
            self._check_range(item)
        self._check_start()
        self._check_country()

    def _check_type(self, item: Field) -> None:
        value, expected = getattr(self, item.name), _TYPES[str(item.type)]
        if expected is float and type(value) is int:
            value = float(value)
            object.__setattr__(self, item.name, value)
        if type(value) is not expected:
            raise SpecError(
                f"{item.name}: expected {item.type}, got {value!r} ({type(value).__name__})"
            )

    def _check_range(self, item: Field) -> None:
        if "range" not in item.metadata:
            return
        low, high = item.metadata["range"]
        value, meaning = getattr(self, item.name), item.metadata["meaning"]
        if not low <= value <= high:  # also refuses NaN
            raise SpecError(f"{item.name}: expected {low} to {high} ({meaning}), got {value}")

    def _check_start(self) -> None:
        try:
            valid = np.datetime64(self.start, "D") >= np.datetime64("1900-01-01")  # NaT is not
        except ValueError:
            valid = False
        if not valid:
            raise SpecError(f"start: expected a day like 2021-01-01, from 1900, got {self.start!r}")

    def _check_country(self) -> None:
        if self.country and self.country not in holidays.list_supported_countries():
            raise SpecError(
                f"country: the holidays library does not know {self.country!r}; "
                "give an ISO code such as BR, or '' for no holidays"
            )
