"""Metrics of forecasts, each a function of actuals and forecasts.

Pairs in which the actual is missing (NaN) are left out, and so are missing points; a metric without
anything to score is NaN. Formulas follow Hyndman & Koehler (2006), "Another look at measures of
forecast accuracy", and Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed.,
sections 5.8 and 5.9. In the formulas y is the actual, f the forecast, and the mean or the sum is
over all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib.data import ROUNDING, Panel, is_constant, without_spikes

SEASON = 7  # days, of the seasonal naive forecast and of the scale of MASE


def mae(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Compute the mean absolute error, mean |f - y|, in the unit of the series.

    Args:
        actual: any shape.
        forecast: points, the same shape.

    >>> mae(np.array([1.0, 2.0, np.nan]), np.array([2.0, 4.0, 9.0]))
    1.5
    """
    actual, forecast = _observed(actual, forecast)
    return _mean(np.abs(forecast - actual))


def rmse(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Compute the root mean squared error, √ mean (f - y)², in the unit of the series.

    Args:
        actual: any shape.
        forecast: points, the same shape.
    """
    actual, forecast = _observed(actual, forecast)
    return float(np.sqrt(_mean((forecast - actual) ** 2)))


def bias(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Compute the mean error, mean (f - y): above zero where forecasts are too high.

    Args:
        actual: any shape.
        forecast: points, the same shape.

    >>> bias(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    1.5
    """
    actual, forecast = _observed(actual, forecast)
    return _mean(forecast - actual)


def r2(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Compute the share of variance explained, 1 - Σ (f - y)² / Σ (y - mean y)².

    NaN where the actuals do not vary.

    Args:
        actual: any shape.
        forecast: points, the same shape.
    """
    actual, forecast = _observed(actual, forecast)
    variance = float(((actual - _mean(actual)) ** 2).sum())
    error = float(((forecast - actual) ** 2).sum())
    return 1 - error / variance if variance > 0 else np.nan


def smape(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Compute the symmetric mean absolute percentage error, 200 · mean |f - y| / (|y| + |f|).

    A pair in which both are zero counts as zero error.

    Args:
        actual: any shape.
        forecast: points, the same shape.

    Returns:
        Per cent, 0 to 200.
    """
    actual, forecast = _observed(actual, forecast)
    error, size = np.abs(forecast - actual), np.abs(actual) + np.abs(forecast)
    return 200 * _mean(np.divide(error, size, where=size > 0, out=np.zeros_like(size)))


def wape(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Compute the weighted absolute percentage error, 100 · Σ |f - y| / Σ |y|.

    NaN where all actuals are zero.

    Args:
        actual: any shape.
        forecast: points, the same shape.

    Returns:
        Per cent.

    >>> wape(np.array([10.0, 30.0]), np.array([12.0, 28.0]))
    10.0
    """
    actual, forecast = _observed(actual, forecast)
    total = float(np.abs(actual).sum())
    return 100 * float(np.abs(forecast - actual).sum()) / total if total > 0 else np.nan


def seasonal_scale(panel: Panel, until: np.datetime64, season: int = SEASON) -> np.ndarray:
    """Compute the scale of MASE: the in-sample mean absolute error of seasonal naive.

    It is mean |y_t - y_{t-season}| over the days up to `until`, inclusive.

    Args:
        panel: S series.
        until: the last day of the sample.
        season: days.

    Returns:
        (S,) in the unit of each series. NaN for a series without two observed days a season apart,
        or that never changes but for the rounding of its numbers: MASE leaves it out. Values a
        thousand times their surroundings are taken for missing.
    """
    scales = np.full(panel.n_series, np.nan)
    panel = without_spikes(panel, until)
    for s in range(panel.n_series):
        rows = panel.series(s)
        values = panel.values[rows][panel.dates[rows] <= until]
        difference = np.abs(values[season:] - values[:-season])
        if np.isfinite(difference).any() and not is_constant(np.nanmin(values), np.nanmax(values)):
            scale = np.nanmean(difference)
            scales[s] = scale if scale > ROUNDING * np.nanmax(np.abs(values)) else np.nan
    return scales


def mase_by_series(
    actual: np.ndarray, forecast: np.ndarray, scale: np.ndarray, series: np.ndarray
) -> pd.Series:
    """Compute the mean absolute scaled error of each series, mean |f - y| / scale.

    Args:
        actual: any shape.
        forecast: points, the same shape.
        scale: of each pair (`seasonal_scale`), broadcast to that shape.
        series: number of the series of each pair, broadcast to that shape.

    Returns:
        Indexed by number of the series, NaN without a scale.
    """
    error = np.abs(forecast - actual)
    scaled = np.where(np.isfinite(error), error, np.nan) / scale
    numbers = np.broadcast_to(series, error.shape)
    return pd.Series(scaled.ravel()).groupby(numbers.ravel()).mean()


def mase(actual: np.ndarray, forecast: np.ndarray, scale: np.ndarray, series: np.ndarray) -> float:
    """Compute the mean absolute scaled error, averaged over series so that each counts once.

    Below 1 the forecasts are better than seasonal naive was in sample. A series without a scale
    is left out. Arguments are those of `mase_by_series`.

    >>> mase(np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([1.0, 4.0]), np.array([0, 1]))
    0.75
    """
    return float(mase_by_series(actual, forecast, scale, series).mean())


def pinball_losses(
    actual: np.ndarray, quantiles: np.ndarray, levels: float | np.ndarray
) -> np.ndarray:
    """Compute the pinball loss of each quantile; the arrays are broadcast against each other."""
    gap = actual - quantiles
    return np.maximum(levels * gap, (levels - 1) * gap)


def pinball_loss(actual: np.ndarray, quantile: np.ndarray, level: float) -> float:
    """Compute the mean pinball loss, mean max(q (y - f), (q - 1) (y - f)), in the series' unit.

    Args:
        actual: any shape.
        quantile: forecasts of the quantile, the same shape.
        level: q of the quantile, such as 0.9.

    >>> pinball_loss(np.array([10.0]), np.array([8.0]), level=0.9)
    1.8
    """
    seen = np.isfinite(actual)
    return _mean(pinball_losses(actual[seen], quantile[seen], level))


def wql(actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> float:
    """Compute the weighted quantile loss, 100 · 2 Σ (mean over levels of pinball loss) / Σ |y|.

    NaN where all actuals are zero.

    Args:
        actual: any shape.
        quantiles: the same shape and a last axis of levels.
        levels: such as (0.1, 0.5, 0.9).

    Returns:
        Per cent.
    """
    seen = np.isfinite(actual)
    truth = actual[seen]
    loss = pinball_losses(truth[:, None], quantiles[seen], np.array(levels))
    total = float(np.abs(truth).sum())
    return 100 * 2 * float(loss.mean(axis=1).sum()) / total if total > 0 else np.nan


def coverage(actual: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Compute the share of actuals inside an interval, both bounds included.

    Args:
        actual: any shape.
        low: lower bounds, the same shape.
        high: upper bounds, the same shape.

    Returns:
        Per cent.

    >>> coverage(np.array([1.0, 5.0]), np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    50.0
    """
    seen = np.isfinite(actual)
    return 100 * _mean((actual[seen] >= low[seen]) & (actual[seen] <= high[seen]))


def _observed(actual: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of which neither is missing. Both (n,)."""
    seen = np.isfinite(actual) & np.isfinite(forecast)
    return actual[seen], forecast[seen]


def _mean(numbers: np.ndarray) -> float:
    """Return the mean, NaN of none."""
    return float(numbers.mean()) if numbers.size else np.nan
