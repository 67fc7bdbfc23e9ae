"""Learn what young series borrow: the pool of the panel, and widths by the number of known days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.data import Panel, take_series
from lib.features import SeriesPool, Windows, learn_pool, values_at
from lib.inference import (
    KNOWN_DAYS,
    ColdStart,
    ServedModel,
    forecast_completed,
    usual_widths,
)

MAX_WINDOWS = 128  # forecast at each number of known days, which bounds seconds
FOLDS = 5  # of series, each forecast by what the others have in common
PRIOR_WINDOWS = 20  # that the usual widths count for
MIN_WIDTH, MAX_WIDTH = 0.5, 8.0


def learn_cold_start(
    served: ServedModel,
    windows: Windows,
    until: np.datetime64,
    widths: np.ndarray | None = None,
) -> ColdStart | None:
    """Learn what a panel has to lend to series that begin.

    The widths are measured by hiding days: series are forecast from their last days alone, by a
    pool of other series, at origins whose truth is known.

    Args:
        served: the model, without a cold start yet.
        windows: of the validation, of the panel without the effects of covariates.
        until: last day to learn from.
        widths: where they have been measured before.

    Returns:
        None where the panel has no series to borrow from.
    """
    panel = windows.panel
    pool = learn_pool(panel, until)
    if pool is None:
        return None
    if widths is None:
        widths = _measure_widths(served, windows, until)
    shape = pool.shape.astype(np.float32).astype(np.float64)  # as precise as it is stored
    return ColdStart(replace(pool, shape=shape), widths)


def _measure_widths(served: ServedModel, windows: Windows, until: np.datetime64) -> np.ndarray:
    """Return the widths (len(KNOWN_DAYS), levels) under which quantiles have their coverage."""
    panel, levels = windows.panel, served.contract.quantiles
    usual = usual_widths(levels)
    count = len(windows.origins)
    if not count:
        return usual
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_WINDOWS)).astype(int))
    origins = windows.origins[chosen]
    actual = values_at(panel, panel.values, origins, np.arange(1, windows.horizon + 1))
    fold = panel.series_of(origins) % FOLDS
    pools = {number: _pool_without(panel, number, until) for number in np.unique(fold)}
    widths = np.empty(usual.shape)
    for row, known_days in enumerate(KNOWN_DAYS):
        quantiles = np.empty((*actual.shape, len(levels)))
        for number, pool in pools.items():
            of_fold = fold == number
            quantiles[of_fold] = forecast_completed(
                served,
                pool,
                panel,
                origins[of_fold],
                days=served.contract.max_context,
                known_days=known_days,
            )
        widths[row] = _widths_of(actual, quantiles, levels, usual[row])
    return widths


def _pool_without(panel: Panel, fold: int, until: np.datetime64) -> SeriesPool:
    """Return the pool of the series of the other folds; a flat one where there are none."""
    others = np.flatnonzero(np.arange(panel.n_series) % FOLDS != fold)
    pool = learn_pool(take_series(panel, others), until) if len(others) else None
    return pool or SeriesPool.flat()


def _widths_of(
    actual: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...], usual: np.ndarray
) -> np.ndarray:
    """Return by how much each level has to be farther from the median to have its coverage.

    Args:
        actual: (n, horizon), NaN where missing.
        quantiles: (n, horizon, levels).
        levels: rising.
        usual: (levels,), what the widths are shrunk to where windows are few.

    Returns:
        (levels,), 1 at the median and rising away from it, so that quantiles stay in order.
    """
    median = levels.index(0.5)
    residual = actual - quantiles[..., median]
    found = np.isfinite(residual)
    windows = found.any(axis=1).sum()
    weight = windows / (windows + PRIOR_WINDOWS)
    widths = usual.copy()
    for i, level in enumerate(levels):
        offset = (quantiles[..., i] - quantiles[..., median])[found]
        usable = np.abs(offset) > 0
        if i == median or not usable.any():
            continue
        ratio = residual[found][usable] / offset[usable]
        share = 1 - level if i < median else level
        factor = np.quantile(ratio, min(share * (windows + 1) / windows, 1.0))
        widths[i] = np.clip(weight * factor + (1 - weight) * usual[i], MIN_WIDTH, MAX_WIDTH)
    widths[median] = 1.0
    below = np.maximum.accumulate(widths[:median][::-1])[::-1]
    above = np.maximum.accumulate(widths[median + 1 :])
    return np.concatenate([below, [1.0], above])
