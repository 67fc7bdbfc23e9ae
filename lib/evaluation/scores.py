"""Scores of a backtest: all metrics, of the whole horizon, of its blocks and of its days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.evaluation import metrics

BLOCKS = ((1, 1), (2, 7), (8, 28))  # first and last day of the horizon
OURS = "ours"  # name of the forecaster beside those of the baselines


@dataclass(frozen=True)
class Backtest:
    """Forecasts and actuals, one row per forecast: the arrays share the first axis.

    Attributes:
        series: (n,) number of the series in the panel.
        cutoffs: (n,) datetime64[D], last day known to each forecast.
        actual: (n, horizon), NaN where missing.
        point: (n, horizon), the median.
        quantiles: (n, horizon, levels) or None for a point forecaster.
        levels: of the quantiles.
        scale: (n,) `seasonal_scale` up to the first cutoff, for MASE.
        revision: (n,) how far each forecast moved within a week (`measure_revisions`), in the unit
            of the series; None where that was not measured.
    """

    series: np.ndarray
    cutoffs: np.ndarray
    actual: np.ndarray
    point: np.ndarray
    quantiles: np.ndarray | None
    levels: tuple[float, ...]
    scale: np.ndarray
    revision: np.ndarray | None = None


def compute_metrics(
    result: Backtest, *, first: int = 1, last: int | None = None
) -> dict[str, float]:
    """Compute all metrics of a backtest, NaN where nothing can be scored.

    Args:
        result: forecasts and actuals.
        first: first day of the horizon to score, from 1.
        last: last day to score, inclusive (default: the whole horizon).

    Returns:
        mae, rmse and bias (unit of the series), r2, mase (mean over series), smape and wape
        (per cent), days (the number scored). With quantiles also pinball_<level> (unit of the
        series), wql (per cent) and coverage_<percent> of each central interval (per cent). Of the
        whole horizon also revision (in scales of MASE, mean over series), where it was measured.

    >>> result = Backtest(
    ...     series=np.array([0]),
    ...     cutoffs=np.array(["2024-01-07"], dtype="datetime64[D]"),
    ...     actual=np.array([[10.0, 12.0]]),
    ...     point=np.array([[11.0, 10.0]]),
    ...     quantiles=None,
    ...     levels=(),
    ...     scale=np.array([3.0]),
    ... )
    >>> scores = compute_metrics(result)
    >>> scores["mae"], scores["mase"], scores["days"]
    (1.5, 0.5, 2)
    """
    days = slice(first - 1, last)
    actual, point = result.actual[:, days], result.point[:, days]
    seen = np.isfinite(actual) & np.isfinite(point)
    scores = {
        "mae": metrics.mae(actual, point),
        "rmse": metrics.rmse(actual, point),
        "bias": metrics.bias(actual, point),
        "r2": metrics.r2(actual, point),
        "mase": metrics.mase(actual, point, result.scale[:, None], result.series[:, None]),
        "smape": metrics.smape(actual, point),
        "wape": metrics.wape(actual, point),
        "days": int(seen.sum()),
    }
    if result.quantiles is not None:
        scores |= _quantile_metrics(actual[seen], result.quantiles[:, days][seen], result.levels)
    if result.revision is not None and first == 1 and last in (None, result.actual.shape[1]):
        scores["revision"] = metrics.mase(
            np.zeros_like(result.revision), result.revision, result.scale, result.series
        )
    return scores


def _quantile_metrics(
    actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]
) -> dict[str, float]:
    """Compute the metrics of quantiles. (n,) actuals, (n, levels) quantiles."""
    scores = {
        f"pinball_{level:g}": metrics.pinball_loss(actual, quantiles[:, i], level)
        for i, level in enumerate(levels)
    }
    scores["wql"] = metrics.wql(actual, quantiles, levels)
    for i, low in enumerate(levels):
        j = len(levels) - 1 - i
        if i < j and np.isclose(low + levels[j], 1):
            share = metrics.coverage(actual, quantiles[:, i], quantiles[:, j])
            scores[f"coverage_{100 * (levels[j] - low):.0f}"] = share
    return scores


def metrics_by_block(result: Backtest, blocks: Sequence[tuple[int, int]] = BLOCKS) -> pd.DataFrame:
    """Compute the metrics by block of the horizon, one row a block, cut at the horizon."""
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
    """Flatten the table of `metrics_by_block`: `mae@2-7` is the MAE of the days 2 to 7."""
    return {
        f"{name}@{block}": float(x) for block, row in blocks.iterrows() for name, x in row.items()
    }


def metrics_by_day(result: Backtest) -> pd.DataFrame:
    """Compute the metrics by day of the horizon, index 1 … horizon."""
    days = range(1, result.actual.shape[1] + 1)
    return pd.DataFrame([compute_metrics(result, first=d, last=d) for d in days], index=list(days))
