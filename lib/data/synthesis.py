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

import numpy as np
import pandas as pd

from lib.data import components as components_module
from lib.data.panel import Panel
from lib.data.synthesis_spec import SynthesisSpec

HOLIDAY_STRENGTH = 0.5  # how a holiday shows in evento_especial; events are 0.6 to 1
# Append only: the place in this list is the child of the seed.
_EFFECTS = "trend volatility weekly yearly drift holiday factor event noise anomaly missing level"


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
    draw = {
        name: components_module.source_of(child)
        for name, child in zip(names, children, strict=True)
    }
    shape = (spec.n_series, spec.n_days)

    level = spec.level * np.exp(0.4 * draw["level"]().standard_normal((spec.n_series, 1)))
    growth, regime = components_module.trend(spec, draw["trend"])
    trend = level * growth
    factor, factor_share = components_module.factor(spec, days, draw["factor"])
    strength, event_share = components_module.events(spec, draw["event"])
    is_holiday, holiday_share = components_module.public_holidays(spec, days, draw["holiday"])
    components = {
        "trend": trend,
        "weekly": trend * components_module.weekly(spec, days, draw["weekly"], draw["drift"]),
        "yearly": trend * components_module.yearly(spec, days, draw["yearly"], draw["drift"]),
        "holiday": trend * holiday_share,
        "factor_effect": trend * factor_share,
        "event_effect": trend * event_share,
    }
    floor = 0.0 if spec.non_negative else -np.inf
    signal = np.maximum(sum(components.values(), np.zeros(shape)), floor)
    multiplier, turbulent = components_module.volatility(spec, draw["volatility"])
    volatility = spec.noise * multiplier * trend
    noisy = signal + volatility * draw["noise"]().standard_normal(shape)
    true_value, anomaly = components_module.anomalies(spec, noisy, trend, floor, draw["anomaly"])
    missing = components_module.missing(spec, draw["missing"])

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
            "anomaly": pd.Categorical.from_codes(
                anomaly.ravel(), list(components_module.ANOMALIES)
            ),
            "missing": missing.ravel(),
            "true_value": true_value.ravel(),
        },
        copy=False,  # a third of the time, for columns that nobody else holds
    )
    return panel, truth
