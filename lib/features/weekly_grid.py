"""Rows of a panel as whole weeks, to compare days with the same weekday and with those around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel, weekday_of

NEAR_DAYS = 29  # over which deviations are centred


@dataclass(frozen=True)
class WeeklyGrid:
    """Rows of a panel as whole weeks: S series by T days, where day j has weekday j % 7.

    Attributes:
        rows: (S, T) int64, row numbers of the panel.
        used: (S, T) bool, False where the grid is longer than the series or past a day.
    """

    rows: np.ndarray
    used: np.ndarray

    @classmethod
    def of(cls, panel: Panel, series: np.ndarray, past: np.ndarray) -> WeeklyGrid:
        """Return the grid of some series; `past` (N,) bool says which rows are used."""
        start = panel.offsets[series]
        lead = weekday_of(panel.dates[start])
        length = panel.offsets[series + 1] - start
        days = int(-(-(lead + length).max() // 7) * 7)
        place = np.arange(days) - lead[:, None]
        inside = (place >= 0) & (place < length[:, None])
        rows = np.where(inside, start[:, None] + place, start[:, None])
        return cls(rows, inside & past[rows])

    @property
    def inner(self) -> np.ndarray:
        """Which days have all days around them, (S, T) bool.

        At the ends a local mean lies to one side, and a trend would look like a deviation.
        """
        around = window_sum(self.used.astype(np.float64), NEAR_DAYS // 2)
        return self.used & (around == NEAR_DAYS)

    def gather(self, column: np.ndarray) -> np.ndarray:
        """Return a column of the panel (N, ...) on the grid (S, T, ...), NaN where unused."""
        gathered = column[self.rows].astype(np.float64)
        gathered[~self.used] = np.nan
        return gathered


def additive_unit(values: np.ndarray) -> np.ndarray:
    """Return what additive effects are measured in: the mean absolute change in a week. (S,)."""
    change = np.abs(values[:, 7:] - values[:, :-7])
    count = np.isfinite(change).sum(axis=1)
    unit = np.nansum(change, axis=1) / np.maximum(count, 1)
    return np.where(unit > 0, unit, 1.0)


def window_sum(values: np.ndarray, half: int) -> np.ndarray:
    """Return the sum over the days up to `half` before and after each. (S, T, ...)."""
    sums = np.zeros((len(values), values.shape[1] + 1, *values.shape[2:]))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    days = np.arange(values.shape[1])
    last = np.minimum(days + half + 1, values.shape[1])
    return sums[:, last] - sums[:, np.maximum(days - half, 0)]
