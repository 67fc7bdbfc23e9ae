"""Metrics of forecasts beside what came true, by series, day and block of the horizon.

Formulas follow Hyndman & Koehler (2006) and Hyndman & Athanasopoulos, *Forecasting: Principles and
Practice*. A missing actual is left out of every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.data import Panel

BLOCKS = ((1, 1), (2, 7), (8, 28))


@dataclass(frozen=True)
class Backtest:
    """Forecasts at cutoffs, and the truth. All arrays share the first axis: one row a forecast.

    Attributes:
        series: (n,) number of the series in the panel.
        cutoffs: (n,) datetime64[D], last day known to each forecast.
        actual: (n, horizon), NaN where missing.
        point: (n, horizon), the median.
        quantiles: (n, horizon, levels) or None for a point forecaster.
        scale: (n,) in-sample mean absolute seasonal difference before the first cutoff, for MASE.
    """

    series: np.ndarray
    cutoffs: np.ndarray
    actual: np.ndarray
    point: np.ndarray
    quantiles: np.ndarray | None
    levels: tuple[float, ...]
    scale: np.ndarray


def seasonal_scale(panel: Panel, until: np.datetime64, season: int = 7) -> np.ndarray:
    """Mean absolute seasonal difference of each series up to a day, the scale of MASE. → (S,).

    A series without two observed days a season apart, or that never changes, has NaN and is left
    out of MASE.
    """
    scales = np.full(panel.n_series, np.nan)
    for s in range(panel.n_series):
        rows = panel.series(s)
        values = panel.values[rows][panel.dates[rows] <= until]
        difference = np.abs(values[season:] - values[:-season])
        if np.isfinite(difference).any() and np.nanmean(difference) > 0:
            scales[s] = np.nanmean(difference)
    return scales


def compute_metrics(
    result: Backtest, *, first: int = 1, last: int | None = None
) -> dict[str, float]:
    """Scores over the days `first` to `last` of the horizon (1-based, inclusive).

    mae, rmse (raw units), r2, mase (season 7, mean over series), smape and wape (per cent), and
    with quantiles: pinball_<level> (raw units), wql (per cent of the total), coverage_<percent>
    of each central interval (per cent). NaN where nothing can be scored.
    """
    days = slice(first - 1, last)
    actual, point = result.actual[:, days], result.point[:, days]
    seen = np.isfinite(actual) & np.isfinite(point)
    error, truth, forecast = (point - actual)[seen], actual[seen], point[seen]
    variance = float(((truth - _average(truth)) ** 2).sum())
    total = float(np.abs(truth).sum())
    size = np.abs(truth) + np.abs(forecast)
    scores = {
        "mae": _average(np.abs(error)),
        "rmse": float(np.sqrt(_average(error**2))),
        "bias": _average(error),
        "r2": 1 - float((error**2).sum()) / variance if variance > 0 else np.nan,
        "mase": _mase(np.abs(point - actual), result),
        "smape": 200 * _average(np.divide(np.abs(error), size, where=size > 0, out=0 * size)),
        "wape": 100 * float(np.abs(error).sum()) / total if total > 0 else np.nan,
        "days": int(seen.sum()),
    }
    if result.quantiles is not None:
        scores |= _quantile_scores(result.quantiles[:, days][seen], truth, result.levels, total)
    return scores


def _average(numbers: np.ndarray) -> float:
    """Their mean, NaN of none."""
    return float(numbers.mean()) if numbers.size else np.nan


def _mase(error: np.ndarray, result: Backtest) -> float:
    by_row = np.where(np.isfinite(error), error, np.nan) / result.scale[:, None]
    means = pd.DataFrame({"series": np.repeat(result.series, error.shape[1]), "e": by_row.ravel()})
    return float(means.groupby("series")["e"].mean().mean())


def _quantile_scores(
    quantiles: np.ndarray, truth: np.ndarray, levels: Sequence[float], total: float
) -> dict[str, float]:
    gap = truth[:, None] - quantiles
    loss = np.maximum(np.array(levels) * gap, (np.array(levels) - 1) * gap)
    scores = {f"pinball_{q:g}": _average(loss[:, i]) for i, q in enumerate(levels)}
    scores["wql"] = 100 * 2 * float(loss.mean(axis=1).sum()) / total if total > 0 else np.nan
    for i, low in enumerate(levels):
        j = len(levels) - 1 - i
        if i < j and np.isclose(low + levels[j], 1):
            inside = (truth >= quantiles[:, i]) & (truth <= quantiles[:, j])
            scores[f"coverage_{100 * (levels[j] - low):.0f}"] = 100 * _average(inside)
    return scores


def metrics_by_block(result: Backtest, blocks: Sequence[tuple[int, int]] = BLOCKS) -> pd.DataFrame:
    """Metrics by block of the horizon, one row a block, as many as the horizon has."""
    horizon = result.actual.shape[1]
    rows = {
        f"{first}-{min(last, horizon)}" if last > first else str(first): compute_metrics(
            result, first=first, last=min(last, horizon)
        )
        for first, last in blocks
        if first <= horizon
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("horizon_days")


def flatten_metrics(blocks: pd.DataFrame) -> dict[str, float]:
    """What `by_block` found, flat: `mae@2-7` is the mae of the days 2 to 7."""
    return {
        f"{name}@{block}": float(x) for block, row in blocks.iterrows() for name, x in row.items()
    }


def metrics_by_day(result: Backtest) -> pd.DataFrame:
    """Metrics by day of the horizon, index 1 … horizon."""
    days = range(1, result.actual.shape[1] + 1)
    return pd.DataFrame([compute_metrics(result, first=d, last=d) for d in days], index=list(days))
