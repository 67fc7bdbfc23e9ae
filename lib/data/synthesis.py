"""Synthetic daily series with their ground truth: one spec, one seed, any number of series.

The model is multiplicative around a trend, as retail demand is:

    signal = trend · (1 + weekly + yearly + holiday + factor + event)
    value  = signal + noise + anomalies, with some days missing, never below zero

Every effect has a dial, a share of the trend; 0 switches it off. Each effect draws from a separate
child of the seed, so turning one dial leaves the draws of all others untouched. Dials scale
effects, not measurements: with `factor=0` the column `fator_externo` is still there and moves
nothing, which is what a test of an explanation needs.

The same seed and spec give the same bits. More series leave the first ones as they were. More days
are another draw: make the longest series you need and cut them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import components
from lib.data.components import NextGenerator
from lib.data.panel import Panel
from lib.data.synthesis_spec import SynthesisSpec

HOLIDAY_STRENGTH = 0.5  # of a holiday in evento_especial; events are 0.6 to 1
# Append only: the place in this list is the child of the seed.
_EFFECTS = "trend volatility weekly yearly drift holiday factor event noise anomaly missing level"


def synthesize(spec: SynthesisSpec, seed: int) -> tuple[Panel, pd.DataFrame]:
    """Draw the series of a spec, and return them with the truth about them.

    Args:
        spec: sizes and strengths.
        seed: of all draws.

    Returns:
        The panel: ids series_00001…, values in units of `level` (NaN = missing), `factor` (like a
        temperature in °C) and `event` (0..1; holidays 0.5) complete: both are known in advance.
        The truth, one row per series and day in the panel's order (values in units of `level`):
        series_id, date, signal (noise-free: its six components follow, and sum to it unless
        clipped at zero), trend, weekly, yearly, holiday, factor_effect, event_effect, volatility
        (standard deviation of the day's noise), regime (0, 1… of the trend), turbulent (bool),
        anomaly (one of `components.ANOMALIES`), missing (bool), true_value (under gaps too).

    >>> panel, truth = synthesize(SynthesisSpec(n_series=2, n_days=90), seed=1)
    >>> panel.ids, panel.values.shape, len(truth)
    (('series_00001', 'series_00002'), (180,), 180)
    """
    days = np.datetime64(spec.start, "D") + np.arange(spec.n_days)
    rngs = _spawn_generators(seed)
    level = spec.level * np.exp(0.4 * rngs["level"]().standard_normal((spec.n_series, 1)))
    growth, regime = components.draw_trend(spec, rngs["trend"])
    trend = level * growth
    factor, factor_share = components.draw_factor(spec, days, rngs["factor"])
    strength, event_share = components.draw_events(spec, rngs["event"])
    is_holiday, holiday_share = components.draw_holidays(spec, days, rngs["holiday"])
    parts = {
        "trend": trend,
        "weekly": trend * components.draw_weekly(spec, days, rngs["weekly"], rngs["drift"]),
        "yearly": trend * components.draw_yearly(spec, days, rngs["yearly"], rngs["drift"]),
        "holiday": trend * holiday_share,
        "factor_effect": trend * factor_share,
        "event_effect": trend * event_share,
    }
    values = _draw_values(spec, parts, rngs)
    panel = Panel(
        ids=tuple(f"series_{i + 1:05d}" for i in range(spec.n_series)),
        offsets=np.arange(spec.n_series + 1, dtype=np.int64) * spec.n_days,
        dates=np.tile(days, spec.n_series),
        values=np.where(values["missing"], np.nan, values["true_value"]).ravel(),
        factor=factor.ravel(),
        event=np.maximum(strength, HOLIDAY_STRENGTH * is_holiday).ravel(),
    )
    return panel, _truth_table(panel, parts | values | {"regime": regime})


def _spawn_generators(seed: int) -> dict[str, NextGenerator]:
    """Return the generators of each effect, by name."""
    names = _EFFECTS.split()
    children = np.random.SeedSequence(seed).spawn(len(names))
    return {
        name: components.generators_of(child) for name, child in zip(names, children, strict=True)
    }


def _draw_values(
    spec: SynthesisSpec, parts: dict[str, np.ndarray], rngs: dict[str, NextGenerator]
) -> dict[str, np.ndarray]:
    """Add noise, anomalies and gaps to the parts of the signal. All (series, days)."""
    shape = (spec.n_series, spec.n_days)
    trend = parts["trend"]
    floor = 0.0 if spec.non_negative else -np.inf
    signal = np.maximum(sum(parts.values(), np.zeros(shape)), floor)
    multiplier, turbulent = components.draw_volatility(spec, rngs["volatility"])
    volatility = spec.noise * multiplier * trend
    noisy = signal + volatility * rngs["noise"]().standard_normal(shape)
    true_value, anomaly = components.add_anomalies(spec, noisy, trend, floor, rngs["anomaly"])
    return {
        "signal": signal,
        "volatility": volatility,
        "turbulent": turbulent,
        "anomaly": anomaly,
        "missing": components.draw_missing(spec, rngs["missing"]),
        "true_value": true_value,
    }


def _truth_table(panel: Panel, truth: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the truth as a table, one row per row of the panel."""
    numbers = panel.series_of(np.arange(len(panel.dates)))
    columns = {name: array.ravel() for name, array in truth.items()}
    return pd.DataFrame(
        {
            "series_id": pd.Categorical.from_codes(numbers, list(panel.ids)),
            "date": panel.dates.astype("datetime64[us]"),
            "signal": columns["signal"],
            "trend": columns["trend"],
            "weekly": columns["weekly"],
            "yearly": columns["yearly"],
            "holiday": columns["holiday"],
            "factor_effect": columns["factor_effect"],
            "event_effect": columns["event_effect"],
            "volatility": columns["volatility"],
            "regime": columns["regime"],
            "turbulent": columns["turbulent"],
            "anomaly": pd.Categorical.from_codes(columns["anomaly"], list(components.ANOMALIES)),
            "missing": columns["missing"],
            "true_value": columns["true_value"],
        },
        copy=False,  # copying takes a third of the time, and nothing else holds these columns
    )
