"""Synthetic daily series with their ground truth: one spec, one seed, any number of series.

The model is multiplicative around a trend, as retail demand is:

    signal = trend · (1 + weekly + yearly + holiday + factor + event)
    value  = signal + noise + anomalies, with some days missing, never below zero

Every effect has a dial, a share of the trend; 0 switches it off. Each effect draws from its own
child of the seed, so turning one dial leaves the draws of all others untouched. Dials scale
effects, not measurements: with `factor=0` the column `fator_externo` is still there and moves
nothing, which is what a test of an explanation needs.

What stays when a spec grows: the same seed and spec give the same bits; more series leave the
first ones as they were; more days are another draw (make the longest you need and cut it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import holidays
import numpy as np
import pandas as pd
import yaml

from lib import effects
from lib.panel import Panel

HOLIDAY_STRENGTH = 0.5  # how a holiday shows in evento_especial; events are 0.6 to 1

# Append only: the place in this list is the child of the seed.
_EFFECTS = "trend volatility weekly yearly drift holiday factor event noise anomaly missing level"


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
    factor_lag: int = _dial(1, 0, effects.MAX_LAG, "days until fator_externo acts")
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


def synthesize(spec: SynthesisSpec, seed: int) -> tuple[Panel, pd.DataFrame]:
    """Draw the series of a spec, and the truth about them.

    Returns:
        The panel: ids series_00001…, values in units of `level` (NaN = missing), `factor` (like a
        temperature in °C) and `event` (0..1; holidays 0.5) complete: both are known in advance.
        The truth, one row per series and day in the panel's order (values in units of `level`):
        series_id, date, signal (noise-free: its six components follow, and sum to it unless
        clipped at zero), trend, weekly, yearly, holiday, factor_effect, event_effect, volatility
        (standard deviation of the day's noise), regime (0, 1… of the trend), turbulent (bool),
        anomaly (one of effects.ANOMALIES), missing (bool), true_value (under gaps too).
    """
    days = np.datetime64(spec.start, "D") + np.arange(spec.n_days)
    names = _EFFECTS.split()
    children = np.random.SeedSequence(seed).spawn(len(names))
    draw = {name: effects.source_of(child) for name, child in zip(names, children, strict=True)}
    shape = (spec.n_series, spec.n_days)

    level = spec.level * np.exp(0.4 * draw["level"]().standard_normal((spec.n_series, 1)))
    growth, regime = effects.trend(spec, draw["trend"])
    trend = level * growth
    factor, factor_share = effects.factor(spec, days, draw["factor"])
    strength, event_share = effects.events(spec, draw["event"])
    is_holiday, holiday_share = effects.public_holidays(spec, days, draw["holiday"])
    components = {
        "trend": trend,
        "weekly": trend * effects.weekly(spec, days, draw["weekly"], draw["drift"]),
        "yearly": trend * effects.yearly(spec, days, draw["yearly"], draw["drift"]),
        "holiday": trend * holiday_share,
        "factor_effect": trend * factor_share,
        "event_effect": trend * event_share,
    }
    floor = 0.0 if spec.non_negative else -np.inf
    signal = np.maximum(sum(components.values(), np.zeros(shape)), floor)
    multiplier, turbulent = effects.volatility(spec, draw["volatility"])
    volatility = spec.noise * multiplier * trend
    noisy = signal + volatility * draw["noise"]().standard_normal(shape)
    true_value, anomaly = effects.anomalies(spec, noisy, trend, floor, draw["anomaly"])
    missing = effects.missing(spec, draw["missing"])

    ids = tuple(f"series_{i + 1:05d}" for i in range(spec.n_series))
    event = np.maximum(strength, HOLIDAY_STRENGTH * is_holiday)
    panel = Panel(
        ids=ids,
        offsets=np.arange(spec.n_series + 1, dtype=np.int64) * spec.n_days,
        dates=np.tile(days, spec.n_series),
        values=np.where(missing, np.nan, true_value).ravel(),
        factor=factor.ravel(),
        event=event.ravel(),
    )
    codes = np.repeat(np.arange(spec.n_series), spec.n_days)
    truth = pd.DataFrame(
        {
            "series_id": pd.Categorical.from_codes(codes, list(ids)),
            "date": np.tile(days.astype("datetime64[us]"), spec.n_series),
            "signal": signal.ravel(),
            **{name: component.ravel() for name, component in components.items()},
            "volatility": volatility.ravel(),
            "regime": regime.ravel(),
            "turbulent": turbulent.ravel(),
            "anomaly": pd.Categorical.from_codes(anomaly.ravel(), list(effects.ANOMALIES)),
            "missing": missing.ravel(),
            "true_value": true_value.ravel(),
        },
        copy=False,  # a third of the time, for columns that nobody else holds
    )
    return panel, truth
