"""Measure how well a model knows what the known-future covariates do."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features import values_at
from lib.inference.served_model import ServedModel, forecast_panel

MAX_WINDOWS = 2_000  # forecasts that are compared, which bounds seconds
MIN_BLOCKS = 3  # of a horizon each, below which nothing is measured
LARGEST = 0.02  # share of the days whose effects are the largest: scenarios are about such days
MIN_DAYS = 30  # of them, below which nothing is measured


def measure_effect_error(model: ServedModel, panel: Panel, origins: np.ndarray) -> float:
    """Return the standard error of an effect, as a share of the effect.

    The median forecasts with and without the covariates of the days ahead differ by the effect d.
    The truth differs from the second by d and everything else, so the slope of a regression of it
    on d is 1 where effects are right. The error is that of the slope: its distance from 1, and its
    standard error by leaving out one horizon of days after the other. Only the days with the
    largest effects count: small ones, such as those of mild weather, say little about promotions.

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
    error = (actual - unknown[..., middle]) / unit
    usable = np.isfinite(effect) & np.isfinite(error)
    if not usable.any():
        return float("nan")
    largest = usable & (np.abs(effect) > 0)
    largest &= np.abs(effect) >= np.quantile(np.abs(effect[usable]), 1 - LARGEST)
    if largest.sum() < MIN_DAYS:
        return float("nan")
    effect, error, blocks = effect[largest], error[largest], blocks[largest]
    products, squares = np.bincount(blocks, effect * error), np.bincount(blocks, effect**2)
    products, squares = products[squares > 0], squares[squares > 0]
    if len(squares) < MIN_BLOCKS:
        return float("nan")
    slope = products.sum() / squares.sum()
    without = (products.sum() - products) / np.maximum(squares.sum() - squares, 1e-12)
    variance = (len(without) - 1) * np.mean((without - without.mean()) ** 2)
    return float(min(np.sqrt((slope - 1) ** 2 + variance), 1.0))
