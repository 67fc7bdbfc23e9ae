"""What a date does to a series every year: its season, and the days that stand out.

A network looks back half a year, and to the same week of last year. A series of several years says
more (`lib.features.year_fitting`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from lib.data import Panel, weekday_of

DAY_OF_YEAR = "day_of_year"  # name among the covariates
N_DATES = 12 * 31
N_FIXED = 2 * N_DATES  # dates, on weekdays and at weekends
N_FLOATING = 12 * 7 * 6  # months, weekdays, first to fifth and last
LAST = 5  # place of a month's last weekday
SATURDAY = 5


@dataclass(frozen=True)
class YearEffects:
    """Effects of dates on S series, logarithms.

    Attributes:
        season: (S, N_DATES) float32.
        fixed: (S, N_FIXED) float32, of days that stand out on their date.
        floating: (S, N_FLOATING) float32, of days that do on their weekday in the month.
    """

    season: np.ndarray
    fixed: np.ndarray
    floating: np.ndarray

    def apply(self, panel: Panel, places: np.ndarray) -> np.ndarray:
        """Return the effect on each row of a panel.

        Args:
            panel: N rows, perhaps of other days.
            places: (panel.n_series,) number of each series among the S, -1 for a new one, which
                has no effects.

        Returns:
            (N,).
        """
        return self.at(panel.dates, np.repeat(places, np.diff(panel.offsets)))

    def at(self, dates: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the effect on dates of series; `places` is as in `apply`, of a shape like them."""
        keys = DateKeys.of(dates)
        effect = self.season[places, keys.date].astype(np.float64)
        effect += self.fixed[places, keys.fixed] + keys.choose(self.floating, places)
        return np.where(places >= 0, effect, 0.0)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that `from_arrays` reads."""
        return {f"year_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> YearEffects | None:
        """Read what `to_arrays` returns, None where it is not among the arrays."""
        names = [field.name for field in fields(cls)]
        if f"year_{names[0]}" not in arrays:
            return None
        return cls(*(arrays[f"year_{name}"] for name in names))


@dataclass(frozen=True)
class DateKeys:
    """Numbers of days by what recurs every year, each of the shape of the days.

    Attributes:
        date: below N_DATES.
        fixed: below N_FIXED.
        floating: below N_FLOATING.
        last: the same as a month's last weekday, -1 where it is not.
    """

    date: np.ndarray
    fixed: np.ndarray
    floating: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, dates: np.ndarray) -> DateKeys:
        """Return the numbers of dates."""
        months = dates.astype("datetime64[M]")
        month = months.astype(np.int64) % 12
        day = (dates - months.astype("datetime64[D]")).astype(np.int64)  # from 0
        later = (dates + 7).astype("datetime64[M]")
        weekday = weekday_of(dates)
        first = (month * 7 + weekday) * (LAST + 1)
        date = month * 31 + day
        return cls(
            date=date,
            fixed=2 * date + (weekday >= SATURDAY),
            floating=first + day // 7,
            last=np.where(later > months, first + LAST, -1),
        )

    def choose(self, floating: np.ndarray, series: np.ndarray) -> np.ndarray:
        """Return the larger effect of a weekday's two numbers in the month."""
        counted = floating[series, self.floating]
        last = np.where(self.last >= 0, floating[series, self.last], 0.0)
        return np.where(np.abs(last) > np.abs(counted), last, counted)
