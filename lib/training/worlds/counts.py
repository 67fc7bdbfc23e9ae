"""Small counts: intermittent demand, first sales after nothing, stock-outs."""

from __future__ import annotations

import numpy as np

from lib.training.worlds.calendar_effects import draw_known_holidays, draw_weekly, draw_yearly
from lib.training.worlds.world import (
    World,
    draw_ar1,
    draw_segments,
    draw_trend,
    exponentiate,
    log_uniform,
)

MAX_MEAN = 1e6


def draw_counts(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return negative binomial counts, some of them intermittent."""
    shape = (n_series, len(days))
    effects = draw_trend(rng, shape) + log_uniform(rng, 0.02, 0.4) * draw_ar1(rng, shape, 0.97)
    event = np.full(shape, np.nan)
    for effect, share in ((draw_weekly, 0.8), (draw_yearly, 0.5)):
        if rng.random() < share:
            effects = effects + effect(rng, days, n_series)
    if rng.random() < 0.5:
        holiday, event = draw_known_holidays(rng, days, n_series)
        effects = effects + holiday
    level = log_uniform(rng, 0.1, 60.0) * exponentiate(0.5 * rng.standard_normal((n_series, 1)))
    mean = np.minimum(level * exponentiate(effects), MAX_MEAN)
    dispersion = log_uniform(rng, 0.3, 50.0)
    counts = rng.poisson(np.minimum(rng.gamma(dispersion, mean / dispersion), 10 * MAX_MEAN))
    counts = counts.astype(float)
    if rng.random() < 0.3:  # orders come on few days, and are of several pieces
        counts *= rng.random(shape) < rng.uniform(0.05, 0.5)
        counts *= rng.integers(1, 13)
    _empty_shelves(rng, counts)
    return World(counts, np.full(shape, np.nan), event)


def _empty_shelves(rng: np.random.Generator, counts: np.ndarray) -> None:
    """Set the days before the first sale and of stock-outs to zero, in place."""
    n_series, n_days = counts.shape
    if rng.random() < 0.2:
        first = rng.integers(0, n_days // 2, (n_series, 1))
        counts[np.arange(n_days) < first] = 0.0
    if rng.random() < 0.3:
        spells = draw_segments(rng, counts.shape, float(log_uniform(rng, 10.0, 60.0)))
        out = rng.random((n_series, 64)) < rng.uniform(0.02, 0.2)
        counts[np.take_along_axis(out, spells % 64, axis=1)] = 0.0
