"""What dates do to a series every year: seasons, and days that stand out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import weekday_of

DAY_OF_YEAR = "day_of_year"  # name among the covariates
N_DATES, N_FLOATING = 2 * 12 * 31, 12 * 7 * 6


@dataclass(frozen=True)
class YearEffects:
    """Effects of dates on S series, logarithms.

    A row more is of a new series, and one, of zeros, of a new one whose effects do not multiply.

    Attributes:
        fixed: (S + 2, N_DATES) float32, of dates, on weekdays and at weekends.
        floating: (S + 2, N_FLOATING) float32, of the first to fifth and last of a month's weekdays.
    """

    fixed: np.ndarray
    floating: np.ndarray

    @classmethod
    def of_rows(cls, fixed: np.ndarray, floating: np.ndarray, series: int) -> YearEffects:
        """Make them of the rows of an artifact; an earlier version wrote none of new series."""
        missing = ((0, series + 2 - len(fixed)), (0, 0))
        return cls(np.pad(fixed, missing), np.pad(floating, missing))

    def at(self, dates: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the effects on dates of series, whose rows `places` are."""
        fixed, *floating = number_dates(dates)
        return self.fixed[places, fixed] + choose(self.floating, places, *floating)

    def find(self, numbers: np.ndarray, additive: np.ndarray) -> np.ndarray:
        """Return the rows of series by their numbers, -1 of a new one, and whether they add."""
        new = len(self.fixed) - np.where(additive, 1, 2)
        return np.where(numbers >= 0, numbers, new)


def number_dates(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns of dates: fixed, floating, and floating as the last (or -1)."""
    months = dates.astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    day = (dates - months.astype("datetime64[D]")).astype(np.int64)  # from 0
    weekday = weekday_of(dates)
    first = 6 * (7 * month + weekday)
    last = np.where((dates + 7).astype("datetime64[M]") > months, first + 5, -1)
    return 2 * (31 * month + day) + (weekday >= 5), first + day // 7, last


def choose(
    floating: np.ndarray, places: np.ndarray, counted: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """Return the larger effect of the two columns of a floating date."""
    effect = floating[places, counted]
    other = np.where(last >= 0, floating[places, last], 0.0)
    return np.where(np.abs(other) > np.abs(effect), other, effect)
