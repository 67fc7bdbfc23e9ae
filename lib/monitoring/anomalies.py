"""Anomalies: what came in on a day outside the 90 % interval of its forecast, by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lib.monitoring.results import Result

PERSISTENT = 3  # days in a row on the same side, from which on it is more than an odd day
_MOST = 50  # that a report lists
_PAIRS = (("q0.05", "q0.95", 0.9), ("q0.1", "q0.9", 0.8))  # the widest interval that there is


@dataclass(frozen=True)
class Anomaly(Result):
    """An actual outside the interval of the last forecast of its day.

    Attributes:
        series_id: of the series.
        date: the day, an ISO string.
        actual: in units of the series.
        lower: end of the interval.
        upper: the other end.
        interval: share of days that it ought to cover.
        side: "above" or "below".
        days: days in a row outside on this side, this one included.
        persistent: whether these are PERSISTENT or more; otherwise it may be a single odd day.
        distance: from the interval, beside its width.
    """

    series_id: str
    date: str
    actual: float
    lower: float
    upper: float
    interval: float
    side: Literal["above", "below"]
    days: int
    persistent: bool
    distance: float


def find_anomalies(
    forecasts: pd.DataFrame, day: np.datetime64, *, most: int = _MOST
) -> tuple[Anomaly, ...]:
    """Find the series whose actual of `day` is outside the interval. Pure.

    Args:
        forecasts: rows of `join_actuals` with q0.05 and q0.95, or q0.1 and q0.9.
        day: the last day that is known.
        most: how many to return.

    Returns:
        Persistent ones first, and the farthest first among them.
    """
    pair = next(((a, b, share) for a, b, share in _PAIRS if {a, b} <= set(forecasts)), None)
    if pair is None:
        return ()
    low, high, share = pair
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    chosen = forecasts[(date > day - 90) & (date <= day)]
    chosen = chosen[np.isfinite(chosen["actual"].to_numpy(np.float64))]
    newest = chosen.sort_values("horizon", kind="stable").drop_duplicates(["series_id", "date"])
    newest = newest.sort_values(["series_id", "date"], kind="stable")
    actual, lower, upper = (newest[n].to_numpy(np.float64) for n in ("actual", low, high))
    side = np.where(actual > upper, 1, np.where(actual < lower, -1, 0))
    series = pd.factorize(newest["series_id"])[0]
    days = newest["date"].to_numpy().astype("datetime64[D]")
    run = _runs(series, days, side)
    width = np.where(upper > lower, upper - lower, np.nan)
    distance = np.where(side > 0, actual - upper, lower - actual) / width
    found = [
        Anomaly(
            series_id=str(newest["series_id"].iloc[row]),
            date=str(day),
            actual=float(actual[row]),
            lower=float(lower[row]),
            upper=float(upper[row]),
            interval=share,
            side="above" if side[row] > 0 else "below",
            days=int(run[row]),
            persistent=bool(run[row] >= PERSISTENT),
            distance=float(distance[row]),
        )
        for row in np.flatnonzero((days == day) & (side != 0))
    ]
    found.sort(key=lambda one: (not one.persistent, -np.nan_to_num(one.distance, nan=np.inf)))
    return tuple(found[:most])


def _runs(series: np.ndarray, days: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Count the days in a row, up to each row, on its side; rows by series and day. All (n,)."""
    rows = np.arange(len(side))
    goes_on = np.zeros(len(side), dtype=bool)
    goes_on[1:] = (
        (series[1:] == series[:-1])
        & (np.diff(days).astype(np.int64) == 1)
        & (side[1:] == side[:-1])
    )
    begins = np.maximum.accumulate(np.where(goes_on, 0, rows)) if len(rows) else rows
    return rows - begins + 1
