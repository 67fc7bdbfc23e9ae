"""Demand as `lib.data.synthesis` makes it, less regular: regimes, events and an external factor.

Its settings are drawn at random. Slow and fast autoregressive swings, weekly patterns of any form
and, now and then, small counts come on top.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.data import SynthesisSpec, synthesize, weekday_of
from lib.training.worlds.world import World, draw_ar1, draw_left, log_uniform, without_covariates

COUNTRIES = ("BR", "US", "DE", "GB", "AU", "", "")  # of the holidays; "" has none
# Half-life in days and standard deviation of the logarithm, lower and upper bound of each.
SWINGS = (((1.0, 12.0), (0.01, 0.3)), ((15.0, 300.0), (0.02, 0.5)))
MAX_COUNT = 1e6


def draw_demand(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return series of a synthetic demand of random settings, some days missing."""
    spec = _draw_spec(rng, days, n_series)
    is_known = rng.random() < 0.5
    if is_known:
        left = draw_left(rng)
        effects = {name: left * getattr(spec, name) for name in ("holiday", "factor", "event")}
        spec = replace(spec, **effects)
    panel, _ = synthesize(spec, int(rng.integers(2**31)))
    shape = (n_series, len(days))
    effects = _draw_swings(rng, shape) + _draw_weekly_pattern(rng, days, n_series)
    values = panel.values.reshape(shape) * np.exp(effects)
    if rng.random() < 0.15:
        mean = log_uniform(rng, 0.3, 20.0) / max(float(np.nanmean(values)), 1e-9)
        counts = rng.poisson(np.minimum(np.nan_to_num(values * mean), MAX_COUNT)).astype(float)
        values = np.where(np.isfinite(values), counts, np.nan)
    if is_known:
        return World(values, panel.factor.reshape(shape), panel.event.reshape(shape))
    return without_covariates(values)


def _draw_spec(rng: np.random.Generator, days: np.ndarray, n_series: int) -> SynthesisSpec:
    """Draw the settings of a world."""

    def zero_or_uniform(zero_prob: float, low: float, high: float) -> float:
        return 0.0 if rng.random() < zero_prob else float(rng.uniform(low, high))

    return SynthesisSpec(
        n_series=n_series,
        n_days=len(days),
        start=str(days[0]),
        country=COUNTRIES[rng.integers(len(COUNTRIES))],
        level=float(10 ** rng.uniform(0.5, 4.0)),
        trend=zero_or_uniform(0.1, 0.0, 0.5),
        regime_days=int(log_uniform(rng, 60, 1500)),
        noise=float(log_uniform(rng, 0.02, 0.4)),
        volatility=zero_or_uniform(0.3, 0.0, 1.5),
        weekly=zero_or_uniform(0.1, 0.0, 0.6),
        yearly=zero_or_uniform(0.2, 0.0, 0.5),
        amplitude_drift=float(rng.uniform(0.0, 0.8)),
        holiday=float(rng.uniform(-0.6, 0.6)),
        factor=zero_or_uniform(0.3, -0.15, 0.15),
        factor_lag=int(rng.integers(3)),
        event=float(rng.uniform(-0.6, 1.0)),
        events_per_year=zero_or_uniform(0.2, 2.0, 20.0),
        anomaly=zero_or_uniform(0.3, 0.0, 0.03),
        missing=zero_or_uniform(0.4, 0.0, 0.15),
    )


def _draw_swings(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return autoregressive swings over days and over months, as logarithms (series, days)."""
    total = np.zeros(shape)
    for half_lives, sizes in SWINGS:
        if rng.random() < 0.7:
            persistence = float(0.5 ** (1 / log_uniform(rng, *half_lives)))
            total += log_uniform(rng, *sizes) * draw_ar1(rng, shape, persistence)
    return total


def _draw_weekly_pattern(rng: np.random.Generator, days: np.ndarray, n_series: int) -> np.ndarray:
    """Return a weekly pattern of any form, or none, as logarithms (series, days)."""
    if rng.random() >= 0.6:
        return np.zeros((n_series, len(days)))
    common = log_uniform(rng, 0.02, 0.5) * rng.standard_normal(7)
    by_series = common + 0.1 * rng.standard_normal((n_series, 7))
    return np.asarray(by_series[:, weekday_of(days)])
