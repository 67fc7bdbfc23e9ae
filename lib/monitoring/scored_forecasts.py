"""Forecasts beside their actuals, as columns: selection, groups, and the numbers of a score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from lib.monitoring.intervals import ratio_interval


@dataclass(frozen=True)
class ScoredForecasts:
    """Forecasts with an actual, as columns: (n,) each, NaN where unknown."""

    actual: np.ndarray
    point: np.ndarray
    lower: np.ndarray  # of the 80 % interval
    upper: np.ndarray
    naive: np.ndarray
    scale: np.ndarray  # of MASE
    series: np.ndarray  # number
    day: np.ndarray  # from the first one of the window
    horizon: np.ndarray
    version: np.ndarray

    def select(self, rows: np.ndarray) -> ScoredForecasts:
        """Return some of the rows."""
        return ScoredForecasts(*(getattr(self, column.name)[rows] for column in fields(self)))


def find_scored(forecasts: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> np.ndarray:
    """Find the forecasts of these target days that have an actual and a median: (rows,) bool."""
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    inside = (date >= first) & (date <= last)
    for name in ("actual", "q0.5"):
        inside &= np.isfinite(forecasts[name].to_numpy(np.float64))
    return inside


def select_scored(
    forecasts: pd.DataFrame, first: np.datetime64, last: np.datetime64
) -> ScoredForecasts:
    """Return the forecasts of these target days that have an actual and a median."""
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    inside = find_scored(forecasts, first, last)
    chosen = forecasts[inside]

    def column(name: str) -> np.ndarray:
        is_there = name in chosen
        return chosen[name].to_numpy(np.float64) if is_there else np.full(len(chosen), np.nan)

    return ScoredForecasts(
        actual=column("actual"),
        point=column("q0.5"),
        lower=column("q0.1"),
        upper=column("q0.9"),
        naive=column("naive"),
        scale=column("scale"),
        series=pd.factorize(chosen["series_id"])[0],
        day=(date[inside] - first).astype(np.int64),
        horizon=chosen["horizon"].to_numpy(np.int64),
        version=chosen["model_version"].to_numpy(np.int64),
    )


def group_by_block(
    scored: ScoredForecasts, blocks: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, str, ScoredForecasts]]:
    """Yield each version and block of the horizon that has forecasts, with these."""
    for version in np.unique(scored.version):
        for low, high in blocks:
            inside = (scored.horizon >= low) & (scored.horizon <= high)
            rows = np.flatnonzero((scored.version == version) & inside)
            if len(rows):
                label = f"{low}-{high}" if high > low else str(low)
                yield int(version), label, scored.select(rows)


def daily_totals(rows: ScoredForecasts, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum absolute error, actual, covered and bounded days over each target day.

    Days without a forecast are left out, as those before a new version.

    Returns:
        The totals, (days, 4), and the number of each day, (days,).
    """
    bounded = np.isfinite(rows.lower) & np.isfinite(rows.upper)
    covered = bounded & (rows.actual >= rows.lower) & (rows.actual <= rows.upper)
    weights = (size, np.abs(rows.actual), 1.0 * covered, 1.0 * bounded)
    totals = np.stack([np.bincount(rows.day, weight) for weight in weights], axis=1)
    day = np.flatnonzero(np.bincount(rows.day))
    return totals[day], day


def wape_and_coverage(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return WAPE (per cent) and coverage (share) of totals (…, 4), NaN where unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        wape = np.where(totals[..., 1] > 0, 100 * totals[..., 0] / totals[..., 1], np.nan)
        return wape, np.where(totals[..., 3] > 0, totals[..., 2] / totals[..., 3], np.nan)


def confidence_bounds(totals: np.ndarray, day: np.ndarray) -> tuple[float, float, float]:
    """Return the lower and upper bound of WAPE and the upper one of coverage, at 97.5 % each.

    Args:
        totals: (days, 4) of `daily_totals`.
        day: (days,) number of each day.
    """
    lower, upper = ratio_interval(100 * totals[:, 0], totals[:, 1], day)
    return lower, upper, ratio_interval(totals[:, 2], totals[:, 3], day)[1]


def compare_with_naive(rows: ScoredForecasts, size: np.ndarray) -> tuple[float, float]:
    """Return the naive forecast's mean error where it is known, and ours there over it."""
    known = np.isfinite(rows.naive)
    if not known.any():
        return np.nan, np.nan
    naive_mae = float(np.abs(rows.naive - rows.actual)[known].mean())
    return naive_mae, float(size[known].mean()) / naive_mae if naive_mae > 0 else np.nan


def r2_score(actual: np.ndarray, error: np.ndarray) -> float:
    """Return the coefficient of determination, NaN where the actuals do not vary."""
    variation = float(((actual - actual.mean()) ** 2).sum())
    return 1 - float((error**2).sum()) / variation if variation > 0 else np.nan
