"""Tell implausible actuals by the past of their series: typing errors, other units, overflows.

One or two extreme days are taken for errors. What three days show is a new level, within a factor
of a thousand. Without a past only the absolute limit holds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

LARGEST = 1e18  # squares of larger values leave single precision, sums of them lose what is small
PAST_DAYS = 91  # of a series that an actual is compared with
_FEWEST = 14  # known days, below which a series has no past to compare with
_RANK = 3  # largest value that is believed: as many errors less one change nothing
_TIMES_LARGEST = 10.0
_TIMES_MEDIAN = 1000.0


def bound_of(values: np.ndarray) -> float:
    """Return the largest plausible size of a value of the series with these values.

    Args:
        values: (n,) in units of the series, with what is judged; NaN where unknown.

    >>> bound_of(np.array([9.0, 11.0] * 10 + [1e308]))
    110.0
    >>> bound_of(np.array([1.0, 2.0])) == LARGEST
    True
    """
    size = np.abs(values[np.isfinite(values)])
    if len(size) < _FEWEST:
        return LARGEST
    largest = float(np.partition(size, -_RANK)[-_RANK])
    median = float(np.median(size))
    bounds = [LARGEST]
    if 0 < largest < LARGEST / _TIMES_LARGEST:
        bounds.append(_TIMES_LARGEST * largest)
    if 0 < median < LARGEST / _TIMES_MEDIAN:
        bounds.append(_TIMES_MEDIAN * median)
    return min(bounds)


def find_implausible(series: np.ndarray, values: np.ndarray) -> dict[int, str]:
    """Return the rows whose value is implausible, each with the reason.

    Args:
        series: (n,) names or numbers, one a row.
        values: (n,) in units of the series; NaN is no value and never implausible.
    """
    if not len(values):
        return {}
    codes, _ = pd.factorize(series)
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    found: dict[int, str] = {}
    for rows in np.split(order, edges):
        bound = bound_of(values[rows])
        # Infinite values are no numbers of a series; `not <=` would find NaN too.
        for row in rows[np.abs(values[rows]) > bound]:
            found[int(row)] = _reason(float(values[row]), bound)
    return dict(sorted(found.items()))


def _reason(value: float, bound: float) -> str:
    if bound >= LARGEST:
        return f"{value:.4g} is larger than any value can be, {LARGEST:g}"
    return (
        f"{_plain(value)} is beyond {_plain(bound)}, the most that the past of the series lets "
        "expect"
    )


def _plain(value: float) -> str:
    """Return a number as people write it: 1e7 is 10,000,000."""
    if not 1000 <= abs(value) < 1e15:
        return f"{value:.4g}"
    return f"{value:,.0f}"
