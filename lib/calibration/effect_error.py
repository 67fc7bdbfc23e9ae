"""Measure how well a model knows what the known-future covariates do."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features import values_at
from lib.inference.served_model import ServedModel, forecast_panel

MAX_WINDOWS = 2_000  # forecasts that are compared, which bounds seconds
MIN_BLOCKS = 3  # of a horizon each, below which nothing is measured
LARGEST = 0.02  # share of the days whose effects are the largest: scenarios are about such days
LARGEST_ERROR = 1.0  # of a day, in widths of its forecast
MIN_DAYS = 30  # of them, below which nothing is measured


def measure_effect_error(model: ServedModel, panel: Panel, origins: np.ndarray) -> float:
    """Return the standard error of the effect of one plan, as a share of the effect.

    The median forecasts with and without the covariates of the days ahead differ by the effect d.
    The truth differs from the first by an error e, whose regression on d has the slope 0 where
    effects are right on average. The slope is off by its distance from 0, or by its standard error
    (by leaving out one horizon of days after the other) where that is more. Beside it, one plan
    does more than another: by how much is what the errors of these days vary more than those of
    other days. Only the days with the largest effects count: small ones, such as those of mild
    weather, say little about promotions. Errors are cut at LARGEST_ERROR, for the sake of spikes.

    Args:
        model: that forecasts.
        panel: the series.
        origins: (n,) rows that training has not seen the days after.

    Returns:
        The share, NaN where there are no covariates, too few days, or no effect to be seen.
    """
    horizon, levels = model.contract.horizon, model.contract.quantiles
    at = np.linspace(0, len(origins) - 1, min(len(origins), MAX_WINDOWS)).astype(int)
    rows = origins[at]
    steps = np.arange(1, horizon + 1)
    days = (panel.dates[rows] - panel.dates[rows].min()).astype(np.int64)[:, None] + steps
    blocks = np.minimum(days // horizon, days.max(initial=0) // horizon)
    columns = [panel.factor, panel.event, *(c.values for c in panel.covariates)]
    if blocks.max(initial=0) + 1 < MIN_BLOCKS or not any(np.isfinite(c).any() for c in columns):
        return float("nan")
    middle = int(np.argmin(np.abs(np.array(levels) - 0.5)))
    known, unknown = (
        forecast_panel(model, panel, rows, known_future=known) for known in (True, False)
    )
    unit = (known[..., -1] - known[..., 0]).mean(axis=1, keepdims=True)
    unit = np.where(unit > 0, unit, np.nan)
    actual = values_at(panel, panel.values, rows, steps)
    effect = (known - unknown)[..., middle] / unit
    error = np.clip((actual - known[..., middle]) / unit, -LARGEST_ERROR, LARGEST_ERROR)
    usable = np.isfinite(effect) & np.isfinite(error)
    if not usable.any():
        return float("nan")
    largest = usable & (np.abs(effect) > 0)
    largest &= np.abs(effect) >= np.quantile(np.abs(effect[usable]), 1 - LARGEST)
    if largest.sum() < MIN_DAYS:
        return float("nan")
    usual = float(np.mean(error[usable & ~largest] ** 2))
    return _relative_error(effect[largest], error[largest], blocks[largest], usual)


def _relative_error(
    effect: np.ndarray, error: np.ndarray, blocks: np.ndarray, usual: float
) -> float:
    """Return the standard error of an effect, as a share of it, at most 1.

    Args:
        effect: (n,) of some days.
        error: (n,) of the forecasts that have the effects in them, in the same unit.
        blocks: (n,) number of the block of each day; those of one block depend on each other.
        usual: mean square error of other days.

    Returns:
        NaN where there are fewer than MIN_BLOCKS blocks.

    >>> rng = np.random.default_rng(0)
    >>> effect, blocks = rng.uniform(1, 2, 500), np.arange(500) // 50
    >>> error = 0.2 * effect * rng.standard_normal(500) + 0.3 * rng.standard_normal(500)
    >>> round(_relative_error(effect, error, blocks, 0.3**2), 1)
    0.2
    """
    products, squares = np.bincount(blocks, effect * error), np.bincount(blocks, effect**2)
    products, squares = products[squares > 0], squares[squares > 0]
    if len(squares) < MIN_BLOCKS:
        return float("nan")
    slope = products.sum() / squares.sum()
    without = (products.sum() - products) / np.maximum(squares.sum() - squares, 1e-12)
    variance = (len(without) - 1) * np.mean((without - without.mean()) ** 2)
    varies = (np.mean((error - slope * effect) ** 2) - usual) / np.mean(effect**2)
    return float(min(np.sqrt(max(slope**2, variance) + max(varies, 0.0)), 1.0))
