"""Confidence intervals of ratios of daily totals that hold their level on a few dependent days.

The interval of Σ numerator / Σ denominator is a t-interval of the ratio's daily residuals (the
linearisation of Cochran, 1977, section 6.4), with three corrections for a short window of days:

- Days are alike: the variance of the mean is multiplied by (1 + ρ) / (1 - ρ), with the lag-one
  autocorrelation ρ of the residuals, corrected for its bias (Kendall, 1954, has the form).
- As many fewer days count as independent ones, in the variance and in the degrees of freedom.
- Weekdays differ, which is no uncertainty: residuals are taken from the mean of their weekday.

`make bench-monitoring` measures the level: a healthy model exceeds a bound of 97.5 % in at most 4 %
of the windows, however many series there are, with an autocorrelation of errors up to 0.8.
"""

from __future__ import annotations

import math

import numpy as np

from lib.evaluation import SEASON

_LEAST_FREEDOM = 2.0
_LARGEST_CORRELATION = 0.6  # of the sizes of errors that are correlated by 0.8 themselves
_FEWEST_BEYOND_WEEK = 7  # days beyond one a weekday, below which weekdays are not told apart
_SHORT = 1.3  # wider where weekdays are not told apart: so few days show too little of their ρ
# The 97.5 % quantile of Student's t by degrees of freedom, interpolated in their inverse.
_FREEDOM = np.array([2, 2.2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 15, 30, 1e9])
_T = np.array(
    [4.3027, 3.9495, 3.5582, 3.1824, 2.9423, 2.7764, 2.5706, 2.4469, 2.3060, 2.2281, 2.1314, 2.0423,
     1.9600]
)  # fmt: skip


def ratio_interval(
    numerator: np.ndarray, denominator: np.ndarray, day: np.ndarray
) -> tuple[float, float]:
    """Return the 95 % interval of Σ numerator / Σ denominator: either bound holds with 97.5 %.

    Args:
        numerator: (days,) totals of a day.
        denominator: (days,) totals of a day, not below zero.
        day: (days,) number of the day, rising; days may be missing.

    Returns:
        The lower and upper bound, NaN where fewer than two days are known or all are zero.

    >>> low, high = ratio_interval(np.tile([1.0, 2, 1], 7), np.full(21, 10.0), np.arange(21))
    >>> low < 4 / 30 < high
    True
    """
    total, count = float(denominator.sum()), len(day)
    if count < 2 or not total > 0:
        return math.nan, math.nan
    ratio = float(numerator.sum()) / total
    residual, freedom = _residuals((numerator - ratio * denominator) * count / total, day % SEASON)
    squares = float(residual @ residual)
    if squares == 0:
        return ratio, ratio
    lag_one = float(residual[1:] @ residual[:-1]) / squares
    correlation = min(max(lag_one + (1 + lag_one) / count, 0.0), _LARGEST_CORRELATION)
    inflation = (1 + correlation) / (1 - correlation)
    independent = max(count / inflation, 2.0)
    variance = squares / freedom / max(1 - 1 / independent, 0.3)
    freedom = max(freedom * independent / count, _LEAST_FREEDOM)
    reach = _t_quantile(freedom) * math.sqrt(variance * inflation / count)
    if count < _FEWEST_BEYOND_WEEK + SEASON:
        reach *= _SHORT
    return ratio - reach, ratio + reach


def _residuals(values: np.ndarray, weekday: np.ndarray) -> tuple[np.ndarray, int]:
    """Return what is left of values of mean zero beyond their weekday, and its freedom."""
    count = np.bincount(weekday, minlength=SEASON)
    freedom = len(values) - int((count > 0).sum())
    if freedom < _FEWEST_BEYOND_WEEK:
        return values, len(values) - 1
    mean = np.bincount(weekday, values, minlength=SEASON) / np.maximum(count, 1)
    return values - mean[weekday], freedom


def _t_quantile(freedom: float) -> float:
    return float(np.interp(1 / freedom, 1 / _FREEDOM[::-1], _T[::-1]))
