"""Compare two forecasts of the same origins: how much better is one, and may it be noise?

Differences are paired: both forecasts from the same origin of the same series on the same days.
Their standard error treats all forecasts of one series, and all from one date, as one observation
each, and takes the larger of the two (Cameron, Gelbach and Miller 2011, without the correction
that could make it smaller).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.evaluation.metrics import pinball_losses
from lib.evaluation.scores import Backtest

METRICS = ("mase", "wql")
NOISE = 2.0  # standard errors that a difference must exceed
WORDS = {
    "naive": "repeating the last value",
    "seasonal_naive": "repeating last week",
    "weekday_median": "the median of the same weekdays",
    "mean_7": "the mean of the last week",
    "instant": "the pretrained network without training",
}


@dataclass(frozen=True)
class Difference:
    """How much better one forecast is than another in one metric, where lower is better.

    Attributes:
        metric: mase or wql.
        baseline: name of the other forecast.
        score: of the forecast.
        baseline_score: of the other, on the same pairs.
        difference: the first less the second; below 0 the forecast is better.
        standard_error: of the difference, NaN where a single series and date leave it unknown.
        pairs: forecasts compared.
    """

    metric: str
    baseline: str
    score: float
    baseline_score: float
    difference: float
    standard_error: float
    pairs: int

    @property
    def is_noise(self) -> bool:
        """Whether the difference is within two standard errors, or its error is unknown."""
        return not abs(self.difference) > NOISE * self.standard_error

    def describe(self) -> str:
        """Return the comparison in words."""
        words = WORDS.get(self.baseline, self.baseline)
        margin = (
            f"± {NOISE * self.standard_error:.2g}"
            if math.isfinite(self.standard_error)
            else "from one series and date"
        )
        verb, kind = ("beats", "gain") if self.difference < 0 else ("does not beat", "loss")
        noise = f", a {kind} within noise" if self.is_noise else ""
        return (
            f"{self.metric} {self.score:.4g} {verb} {words}, {self.baseline_score:.4g} "
            f"(difference {self.difference:+.2g} {margin}{noise})"
        )


def compare(
    result: Backtest, other: Backtest, metric: str = "mase", baseline: str = ""
) -> Difference:
    """Compare two backtests of the same origins in one metric, paired by origin and series.

    Args:
        result: of the forecaster.
        other: of the forecast it is compared with.
        metric: mase or wql.
        baseline: name of `other`, for messages.

    Raises:
        ValueError: the backtests have other origins or horizons, or no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {METRICS}, got {metric!r}")
    same = result.actual.shape == other.actual.shape and np.array_equal(
        (result.series, result.cutoffs.astype(np.int64)),
        (other.series, other.cutoffs.astype(np.int64)),
    )
    if not same:
        raise ValueError("backtests: expected the same origins and horizon in both")
    contributions = _mase_contributions if metric == "mase" else _wql_contributions
    first, second = contributions(result, other)
    seen = np.isfinite(first) & np.isfinite(second)
    gap = np.where(seen, first - second, 0.0)
    clusters = (result.series[seen], result.cutoffs[seen].astype(np.int64))
    return Difference(
        metric=metric,
        baseline=baseline,
        score=float(first[seen].sum()) if seen.any() else math.nan,
        baseline_score=float(second[seen].sum()) if seen.any() else math.nan,
        difference=float(gap.sum()) if seen.any() else math.nan,
        standard_error=standard_error(gap[seen], clusters),
        pairs=int(seen.sum()),
    )


def standard_error(parts: np.ndarray, clusterings: Sequence[np.ndarray]) -> float:
    """Return the standard error of a sum of parts, the larger of several ways to cluster them.

    Args:
        parts: (n,).
        clusterings: each (n,), equal for parts that depend on each other.

    Returns:
        NaN where every way has a single cluster.
    """
    errors = []
    for clusters in clusterings:
        _, place = np.unique(clusters, return_inverse=True)
        sums = np.bincount(place, weights=parts)
        if len(sums) > 1:
            variance = len(sums) / (len(sums) - 1) * float(((sums - sums.mean()) ** 2).sum())
            errors.append(math.sqrt(variance))
    return max(errors, default=math.nan)


def _mase_contributions(result: Backtest, other: Backtest) -> tuple[np.ndarray, np.ndarray]:
    """Return what each forecast adds to the MASE, (n,) of both, NaN where it adds nothing."""
    seen = np.isfinite(result.actual) & np.isfinite(result.point) & np.isfinite(other.point)
    seen &= np.isfinite(result.scale)[:, None]
    days = seen.sum(axis=1)
    series, place = np.unique(result.series, return_inverse=True)
    days_of_series = np.bincount(place, weights=days, minlength=len(series))
    scored = max(int((days_of_series > 0).sum()), 1)
    weight = result.scale * np.where(days > 0, days_of_series[place], np.nan) * scored

    def share(point: np.ndarray) -> np.ndarray:
        error = np.where(seen, np.abs(point - result.actual), 0.0)
        return error.sum(axis=1) / weight

    return share(result.point), share(other.point)


def _wql_contributions(result: Backtest, other: Backtest) -> tuple[np.ndarray, np.ndarray]:
    """Return what each forecast adds to the WQL, (n,) of both, in per cent."""
    seen = np.isfinite(result.actual)
    total = float(np.abs(result.actual[seen]).sum())
    days = seen.sum(axis=1)

    def share(backtest: Backtest) -> np.ndarray:
        if backtest.quantiles is None or not total:
            return np.full(len(days), np.nan)
        levels = np.array(backtest.levels)
        loss = pinball_losses(result.actual[..., None], backtest.quantiles, levels).mean(axis=-1)
        return np.where(days > 0, 200 * np.where(seen, loss, 0.0).sum(axis=1) / total, np.nan)

    return share(result), share(other)
