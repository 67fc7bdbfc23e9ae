"""Add up days and series of forecasts, path by path: quantiles of weeks, lead times and groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

WEEKS, MONTHS = "weeks", "months"  # calendar ones that lie in the horizon


class DayRange(NamedTuple):
    """Days of a horizon that are added up: the first and the last, counted from 1."""

    first: int
    last: int

    @property
    def days(self) -> int:
        """Number of days."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Total:
    """The forecast of a sum over days, and perhaps over series.

    Attributes:
        days: that are added up.
        first: the first day, datetime64[D].
        series: number of series.
        mean: the sum of the means of the days.
        paths: (n,) sample paths, in the unit of the series.
        parts: of a scenario, how much of its difference in the mean each covariate makes, by name.
    """

    days: DayRange
    first: np.datetime64
    series: int
    mean: float
    paths: np.ndarray
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def last(self) -> np.datetime64:
        """The last day, datetime64[D]."""
        return self.first + (self.days.days - 1)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Return the quantiles (levels,) of the paths."""
        return np.quantile(self.paths, levels)


def subtract(total: Total, other: Total) -> Total:
    """Return the difference of two totals of the same days, path by path."""
    return replace(total, mean=total.mean - other.mean, paths=total.paths - other.paths)


def read_ranges(
    days: Iterable[int | str], horizon: int, start: np.datetime64 | None = None
) -> list[DayRange]:
    """Read ranges of days: `7` (the first seven), `8-14`, `weeks` and `months`.

    Args:
        days: numbers or texts. `weeks` stands for all calendar weeks (Monday to Sunday) that lie
            in the horizon, `months` for all calendar months.
        horizon: days that are forecast.
        start: the first of them, for weeks and months.

    Returns:
        Each range once, in the order of `days`.

    Raises:
        ValueError: a range is not one, or ends after the horizon.

    >>> read_ranges([7, "8-14"], 28)
    [DayRange(first=1, last=7), DayRange(first=8, last=14)]
    >>> read_ranges(["weeks"], 14, np.datetime64("2026-01-01"))
    [DayRange(first=5, last=11)]
    """
    ranges: list[DayRange] = []
    for item in days:
        text = str(item).strip()
        if text in (WEEKS, MONTHS) and start is not None:
            ranges += _calendar_ranges(text, horizon, start)
            continue
        match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,3})", text, re.ASCII)
        if not match:
            raise ValueError(
                f"got {text!r}, expected a number of days such as 7, a range such as 8-14, "
                f"{WEEKS} or {MONTHS}"
            )
        first, last = int(match[1] or 1), int(match[2])
        if not 1 <= first <= last <= horizon:
            raise ValueError(f"got {text!r}, expected days from 1 to {horizon}, the horizon")
        ranges.append(DayRange(first, last))
    return list(dict.fromkeys(ranges))


def _calendar_ranges(unit: str, horizon: int, start: np.datetime64) -> list[DayRange]:
    """Return the calendar weeks or months that lie in the horizon whole."""
    dates = start + np.arange(horizon + 1)
    if unit == MONTHS:
        period = dates.astype("datetime64[M]").astype(np.int64)
    else:
        period = (dates.astype(np.int64) + 3) // 7  # 1970-01-01 was a Thursday
    begun = start != _first_of(unit, start)
    return [
        DayRange(int(at[0]) + 1, int(at[-1]) + 1)
        for number in range(period[0] + begun, period[-1])
        if len(at := np.flatnonzero(period == number))
    ]


def _first_of(unit: str, day: np.datetime64) -> np.datetime64:
    """Return the first day of the week or month of a day."""
    if unit == MONTHS:
        return day.astype("datetime64[M]").astype("datetime64[D]")
    return day - (day.astype(np.int64) + 3) % 7


def align_ranges(
    ranges: Sequence[DayRange], starts: np.ndarray, horizon: int
) -> tuple[list[DayRange], list[DayRange]]:
    """Divide ranges into those that all series of a group forecast, and the others.

    The days of a group are counted from the latest of the first days of its series.

    Args:
        ranges: of the group.
        starts: (n,) datetime64[D], the first forecast day of each series.
        horizon: days that are forecast of each.
    """
    common = horizon - int((starts.max() - starts.min()).astype(np.int64))
    inside = [days for days in ranges if days.last <= common]
    return inside, [days for days in ranges if days.last > common]


class RangeSums(NamedTuple):
    """The sums of one series over ranges of days: of its paths, its means and its parts."""

    paths: np.ndarray  # (ranges, n)
    means: np.ndarray  # (ranges,)
    parts: Mapping[str, np.ndarray]  # (ranges,) each


def sum_ranges(
    ranges: Sequence[DayRange],
    means: np.ndarray,
    paths: np.ndarray,
    parts: Mapping[str, np.ndarray] | None = None,
    *,
    ahead: int = 0,
) -> RangeSums:
    """Add up the days of one series. The arguments are those of `GroupSum.add`.

    Args:
        ranges: of days.
        means: (days,).
        paths: (n, days).
        parts: (days,) of each covariate.
        ahead: days of the series before the first of the ranges.
    """

    def add_up(days: np.ndarray) -> np.ndarray:
        return np.array([days[ahead + a - 1 : ahead + b].sum(axis=0) for a, b in ranges])

    sums = {name: add_up(part) for name, part in (parts or {}).items()}
    return RangeSums(add_up(paths.T), add_up(means), sums)


class GroupSum:
    """Add up the paths and means of the series of a group, one series at a time.

    Args:
        ranges: of days, counted from `start`.
        start: the first day of the group.
    """

    def __init__(self, ranges: Sequence[DayRange], start: np.datetime64) -> None:
        self.ranges, self.start = list(ranges), start
        self._series = 0
        self._means = np.zeros(len(self.ranges))
        self._paths: np.ndarray | None = None
        self._parts: dict[str, np.ndarray] = {}

    def add(
        self,
        start: np.datetime64,
        means: np.ndarray,
        paths: np.ndarray,
        parts: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Add one series.

        Args:
            start: its first forecast day, not after that of the group.
            means: (days,) of its forecast.
            paths: (n, days), from the same sampler as those of the other series.
            parts: of a scenario, (days,) of each covariate, as `share_difference` returns them.
        """
        ahead = int((self.start - start).astype(np.int64))
        self.add_ranges(sum_ranges(self.ranges, means, paths, parts, ahead=ahead))

    def add_ranges(self, sums: RangeSums) -> None:
        """Add one series whose days are added up already, over the ranges of this group."""
        self._paths = sums.paths if self._paths is None else self._paths + sums.paths
        self._means += sums.means
        for name, part in sums.parts.items():
            self._parts[name] = self._parts.get(name, 0.0) + part
        self._series += 1

    def add_sums(self, start: np.datetime64, days: Sequence[Total]) -> None:
        """Add what is already a sum of series: a total for each day from `start`."""
        paths = np.stack([day.paths for day in days], axis=1)
        self.add(start, np.array([day.mean for day in days]), paths)
        self._series += days[0].series - 1

    def totals(self) -> list[Total]:
        """Return the totals of the series that were added, in the order of the ranges."""
        if self._paths is None:
            return []
        return [
            Total(
                days,
                self.start + (days.first - 1),
                self._series,
                float(mean),
                paths,
                {name: float(part[i]) for name, part in self._parts.items()},
            )
            for i, (days, mean, paths) in enumerate(
                zip(self.ranges, self._means, self._paths, strict=True)
            )
        ]
