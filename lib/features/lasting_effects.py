"""Measure how much of an effect lasts: a price that rises for years is not a price cut."""

from __future__ import annotations

import numpy as np

from lib.data import Panel, take_series
from lib.features.covariate_effects import CovariateEffects
from lib.features.effect_regression import shrink_to_one
from lib.features.series_choice import choose_series
from lib.features.weekly_grid import WeeklyGrid

LASTING_DAYS = 28  # of a level
LASTING_DEVIATION = 0.5  # prior standard deviation of the share that lasts, around 1
MIN_CHANGES = 4  # of the level, to tell what lasts


def measure_lasting(
    effects: CovariateEffects, panel: Panel, past: np.ndarray, rows: float
) -> np.ndarray:
    """Return which share of the effects changes levels as it changes days. (K,), 0 to 1.

    Changes of the level from four weeks to the next are regressed on those of the effects. Where
    they say little, the share stays near 1.

    Args:
        effects: of K covariates, each with a share of 1.
        panel: N rows.
        past: (N,) bool, the rows to learn from.
        rows: of the panel that are looked at, about.
    """
    series = choose_series(panel, np.arange(panel.n_series), rows)
    past, panel = past[panel.rows_of(series)], take_series(panel, series)
    applied = effects.apply(panel)
    grid = WeeklyGrid.of(panel, np.arange(panel.n_series), past)
    values = _block_means(grid.gather(panel.values)[..., None])[..., 0]
    units = applied.units[panel.offsets[:-1]][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.where(np.isnan(units), np.log(np.maximum(values, 0)), values / units)
    moved = np.diff(levels, axis=1)
    explained = np.diff(_block_means(grid.gather(applied.effects.T)), axis=1)
    used = np.isfinite(moved) & np.isfinite(explained).all(axis=-1)
    if used.sum() < MIN_CHANGES:
        return np.ones(len(effects.bases))
    return shrink_to_one(explained[used], moved[used], LASTING_DEVIATION)


def _block_means(values: np.ndarray) -> np.ndarray:
    """Return the means of four weeks each, (S, T, K) to (S, blocks, K), NaN with half unknown."""
    blocks = values.shape[1] // LASTING_DAYS
    parts = values[:, -blocks * LASTING_DAYS :].reshape(len(values), blocks, LASTING_DAYS, -1)
    count = np.isfinite(parts).sum(axis=2)
    means = np.nansum(parts, axis=2) / np.maximum(count, 1)
    return np.where(2 * count > LASTING_DAYS, means, np.nan)
