"""Weekdays on which a series is closed: regularly without a row, such as weekends."""

from __future__ import annotations

import numpy as np

from lib.data.calendar import weekday_of
from lib.data.panel import Panel
from lib.data.planned import is_planned, last_history_rows

CLOSED_LOOK_BACK = 182  # days: half a year, in whole weeks
MIN_WEEKS = 4
EXCEPTIONS = 0.05  # share of a closed weekday that may be open all the same
MIN_OPEN = 2  # weekdays; a single one is weekly data
CHANCE = 1e-4  # that an open weekday is missed every week


def closed_weekdays(panel: Panel, until: np.datetime64 | None = None) -> np.ndarray:
    """Find the weekdays on which each series is closed, in its last half year.

    A weekday is closed if it is observed in at most one week of twenty, and that is not by chance:
    with the share p of the other weekdays observed, (1 - p) to the power of the weeks is at most
    1 in 10,000.

    Args:
        panel: S series.
        until: the last day to look at, such as a forecast origin; by default the end of each
            history.

    Returns:
        (S, 7) bool, Monday first.

    >>> from lib.data import to_panel, validate
    >>> import pandas as pd
    >>> days = pd.bdate_range("2024-01-01", periods=80)
    >>> panel = to_panel(validate(pd.DataFrame({"date": days, "value": range(80)})))
    >>> closed_weekdays(panel)[0].tolist()
    [False, False, False, False, False, True, True]
    """
    shape = (panel.n_series, 7)
    last_row = last_history_rows(panel)
    last = panel.dates[last_row] if until is None else np.minimum(panel.dates[last_row], until)
    series = np.repeat(np.arange(panel.n_series), np.diff(panel.offsets))
    recent = (panel.dates <= last[series]) & (panel.dates > last[series] - CLOSED_LOOK_BACK)
    key = 7 * series[recent] + weekday_of(panel.dates[recent])
    observed = np.isfinite(panel.values[recent]).astype(np.float64)
    weeks = np.bincount(key, minlength=7 * panel.n_series).reshape(shape)
    seen = np.bincount(key, weights=observed, minlength=7 * panel.n_series).reshape(shape)
    rare = seen <= EXCEPTIONS * weeks
    total_open = np.where(rare, 0, weeks).sum(axis=1)
    share = np.where(rare, 0, seen).sum(axis=1) / np.maximum(total_open, 1)
    by_chance = (1 - share)[:, None] ** weeks
    enough_open = ((~rare).sum(axis=1) >= MIN_OPEN)[:, None]
    return rare & enough_open & (weeks >= MIN_WEEKS) & (by_chance <= CHANCE)


def is_closed(closed: np.ndarray, series: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """Return which days are closed days of their series.

    Args:
        closed: (S, 7), as `closed_weekdays` returns it.
        series: number of the series of each day, broadcast with `dates`.
        dates: datetime64[D].

    Returns:
        Bool, of the shape of both.
    """
    return closed[series, weekday_of(dates)]


def closed_days_ahead(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Return which days after each origin are closed, by what is known at the origin.

    Args:
        panel: of the origins.
        origins: (n,) rows of the last known days.
        horizon: days ahead.

    Returns:
        (n, horizon) bool.
    """
    closed = np.zeros((len(origins), horizon), dtype=bool)
    cutoffs, series = panel.dates[origins], panel.series_of(origins)
    for cutoff in np.unique(cutoffs):
        here = np.flatnonzero(cutoffs == cutoff)
        dates = cutoff + np.arange(1, horizon + 1)
        closed[here] = is_closed(closed_weekdays(panel, cutoff), series[here, None], dates)
    return closed


def is_missing(panel: Panel) -> np.ndarray:
    """Return which rows lack a value that should be there: not closed, not planned. (N,) bool."""
    series = np.repeat(np.arange(panel.n_series), np.diff(panel.offsets))
    closed = is_closed(closed_weekdays(panel), series, panel.dates)
    return ~np.isfinite(panel.values) & ~closed & ~is_planned(panel)
