"""Tell whether the expected error of each series is a measure that degradation can be found by.

Broken values in the last days of the data give an expected error of any size. Everything that
follows lies below it, so a model that is judged by it never looks worse.
"""

from __future__ import annotations

import numpy as np

from lib.evaluation.scores import Backtest

_LARGEST = 1e18  # of an error in units of the series: sums of larger ones lose what is small
_TIMES_TYPICAL = 1000.0  # of the typical size of the series


def find_insane_series(result: Backtest) -> dict[int, str]:
    """Return the series whose expected error is no measure, each with the reason.

    The error is compared with the median size of the actuals and with the scale of the MASE, which
    one broken value moves little.

    Args:
        result: the backtest.

    Returns:
        A reason by number of the series in the panel; empty where all are sane.

    >>> result = Backtest(
    ...     series=np.array([0, 1]),
    ...     cutoffs=np.array(["2024-01-07"] * 2, dtype="datetime64[D]"),
    ...     actual=np.array([[10.0, 11, 12], [10, 1e9, 12]]),
    ...     point=np.full((2, 3), 11.0),
    ...     quantiles=None,
    ...     levels=(),
    ...     scale=np.array([3.0, 3.0]),
    ... )
    >>> find_insane_series(result)
    {1: 'mean error 3.3e+08, beside a typical size of 12'}
    """
    reasons = {}
    for number in np.unique(result.series):
        rows = result.series == number
        reason = _doubt(result.actual[rows], result.point[rows], float(result.scale[rows][0]))
        if reason:
            reasons[int(number)] = reason
    return reasons


def _doubt(actual: np.ndarray, point: np.ndarray, scale: float) -> str:
    """Return why the error of a series is no measure, "" where it is one. (n, horizon) each."""
    known = np.isfinite(actual)
    if not known.any():
        return ""
    seen = known & np.isfinite(point)
    if not seen.any():
        return "no forecast is a number"
    with np.errstate(over="ignore", invalid="ignore"):
        error = float(np.abs(actual[seen] - point[seen]).mean())
    typical = float(np.nanmax([np.median(np.abs(actual[known])), scale]))
    if not error <= _LARGEST:
        return f"mean error {error:.2g}"
    if typical > 0 and error > _TIMES_TYPICAL * typical:
        return f"mean error {error:.2g}, beside a typical size of {typical:.2g}"
    return ""
