"""Synthetic worlds to pretrain on: panels of a few series, drawn at random from a seed.

Settings of `lib.data.synthesis` are drawn at random, and its series made less regular: slow and
fast autoregressive swings, weekly patterns of any form, and small counts.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lib.data import Panel, SynthesisSpec, synthesize, weekday_of

SERIES_PER_WORLD = 6
COUNTRIES = ("BR", "US", "DE", "GB", "AU", "", "")  # of the holidays; "" has none
# Half-life in days and standard deviation of the logarithm, lower and upper bound of each.
SWINGS = (((1.0, 12.0), (0.01, 0.3)), ((15.0, 300.0), (0.02, 0.5)))
MAX_COUNT = 1e6


def draw_world(seed: int) -> Panel:
    """Return the series of one world: 420 to 1,500 days, in arbitrary units."""
    rng = np.random.default_rng([seed, 1])
    spec = _draw_spec(rng)
    panel, _ = synthesize(spec, seed)
    shape = (spec.n_series, spec.n_days)
    effects = _draw_swings(rng, shape) + _draw_weekly_pattern(rng, panel, shape)
    values = panel.values.reshape(shape) * np.exp(effects)
    if rng.random() < 0.15:
        mean = _log_uniform(rng, 0.3, 20.0) / max(float(np.nanmean(values)), 1e-9)
        counts = rng.poisson(np.minimum(np.nan_to_num(values * mean), MAX_COUNT)).astype(float)
        values = np.where(np.isfinite(values), counts, np.nan)
    return replace(panel, values=values.ravel())


def draw_worlds(count: int, seed: int) -> Panel:
    """Return the series of `count` worlds in one panel."""
    panels = [draw_world(seed + number) for number in range(count)]
    ends = np.cumsum([len(panel.values) for panel in panels])
    starts = [0, *ends[:-1]]
    parts = [p.offsets[1:] + start for p, start in zip(panels, starts, strict=True)]
    return Panel(
        ids=tuple(f"{number}_{name}" for number, p in enumerate(panels) for name in p.ids),
        offsets=np.concatenate([[0], *parts]).astype(np.int64),
        dates=np.concatenate([panel.dates for panel in panels]),
        values=np.concatenate([panel.values for panel in panels]),
        factor=np.concatenate([panel.factor for panel in panels]),
        event=np.concatenate([panel.event for panel in panels]),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _draw_spec(rng: np.random.Generator) -> SynthesisSpec:
    """Draw the settings of a world."""

    def zero_or_uniform(zero_prob: float, low: float, high: float) -> float:
        return 0.0 if rng.random() < zero_prob else float(rng.uniform(low, high))

    return SynthesisSpec(
        n_series=SERIES_PER_WORLD,
        n_days=int(rng.integers(420, 1500)),
        start=str(np.datetime64("2005-01-01") + rng.integers(6000)),
        country=COUNTRIES[rng.integers(len(COUNTRIES))],
        level=float(10 ** rng.uniform(0.5, 4.0)),
        trend=zero_or_uniform(0.1, 0.0, 0.5),
        regime_days=int(_log_uniform(rng, 60, 1500)),
        noise=_log_uniform(rng, 0.02, 0.4),
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
            persistence = 0.5 ** (1 / _log_uniform(rng, *half_lives))
            total += _log_uniform(rng, *sizes) * _draw_ar1(rng, shape, persistence)
    return total


def _draw_ar1(rng: np.random.Generator, shape: tuple[int, int], persistence: float) -> np.ndarray:
    """Return a stationary AR(1) process of unit variance in each row."""
    swing = rng.standard_normal(shape)
    swing[:, 1:] *= math.sqrt(1 - persistence**2)
    for day in range(1, shape[1]):
        swing[:, day] += persistence * swing[:, day - 1]
    return swing


def _draw_weekly_pattern(
    rng: np.random.Generator, panel: Panel, shape: tuple[int, int]
) -> np.ndarray:
    """Return a weekly pattern of any form, or none, as logarithms (series, days)."""
    if rng.random() >= 0.6:
        return np.zeros(shape)
    common = _log_uniform(rng, 0.02, 0.5) * rng.standard_normal(7)
    by_series = common + 0.1 * rng.standard_normal((shape[0], 7))
    weekday = weekday_of(panel.dates[: shape[1]])
    return by_series[:, weekday]
