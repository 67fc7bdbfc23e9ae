"""What a synthetic panel is made of: sizes, strengths and frequencies, each with bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import holidays
import numpy as np

if TYPE_CHECKING:
    pass
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

MAX_LAG = 27


class SpecError(ValueError):
    """A synthesis spec with an unknown key, a wrong type or a value out of range."""


def _dial(default: Any, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "meaning": meaning})


@dataclass(frozen=True)
class SynthesisSpec:
    """What to synthesize. Raises SpecError naming the field, what it got and what it may be."""

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
            value = getattr(self, item.name)
            kind = {"int": int, "float": float, "str": str, "bool": bool}[str(item.type)]
            if kind is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, item.name, value)
            if type(value) is not kind:
                raise SpecError(
                    f"{item.name}: expected {item.type}, got {value!r} ({type(value).__name__})"
                )
            low, high = item.metadata.get("range", (None, None))
            if low is not None and not low <= value <= high:  # also refuses NaN
                meaning = item.metadata["meaning"]
                raise SpecError(f"{item.name}: expected {low} to {high} ({meaning}), got {value}")
        try:
            valid = np.datetime64(self.start, "D") >= np.datetime64("1900-01-01")  # NaT is not
        except ValueError:
            valid = False
        if not valid:
            raise SpecError(f"start: expected a day like 2021-01-01, from 1900, got {self.start!r}")
        if self.country and self.country not in holidays.list_supported_countries():
            raise SpecError(
                f"country: the holidays library does not know {self.country!r}; "
                "give an ISO code such as BR, or '' for no holidays"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SynthesisSpec:
        """A spec from a mapping; what is absent keeps its default, an unknown key is an error."""
        known = [item.name for item in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise SpecError(f"unknown key {', '.join(unknown)}; known are {', '.join(known)}")
        given = dict(values)
        if "start" in given and hasattr(given["start"], "isoformat"):
            given["start"] = given["start"].isoformat()[:10]  # YAML reads a bare date as a date
        return cls(**given)

    @classmethod
    def from_yaml(cls, path: str | Path) -> SynthesisSpec:
        """A spec from a YAML file holding one mapping of field names to values."""
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            found = type(values).__name__
            raise SpecError(f"{Path(path).name}: expected a mapping of field names, got {found}")
        return cls.from_dict(values)
