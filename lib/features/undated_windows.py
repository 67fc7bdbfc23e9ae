"""The days that follow a window of feature rows that carry no dates.

Feature rows hold weekday and month. Any 60 consecutive days contain a first of a month, which
fixes the day of the month, and with it everything but the year. The year decides two things:
whether there is a 29th of February, and the day of the year after it. A window that spans
February shows it. For other windows, the weekday rules out most years, and of the rest the one
nearest to the end of the model's training span is taken. Weekday and day repeat after 5, 6 or 11
years, so that is the right year within two years of that end. Further away, the 28th of February
may be followed by the wrong day, and the day of the year may be off by one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lib.data import weekday_of
from lib.features.engineering import FUTURE, calendar_features

# Clients may round their sines; neighbouring months are 0.5 apart.
TOLERANCE = 0.05
_YEARS = 28  # after which weekdays repeat
_CALENDAR = 4  # columns of FEATURES, sines and cosines of weekday and month
_KNOWN = 6  # columns of FUTURE, the same and the day of the year


def known_future_after(features: np.ndarray, horizon: int, near: np.datetime64) -> np.ndarray:
    """Return the known future of one window: the calendar, with everything else unknown.

    Args:
        features: (days, 11), raw units.
        horizon: days ahead.
        near: the end of the training span, which decides between years.

    Returns:
        (1, horizon, len(FUTURE)), NaN where unknown, read-only.
    """
    calendar = np.ascontiguousarray(features[:, :_CALENDAR], dtype=np.float64)
    return _known_future(calendar.tobytes(), horizon, near.astype("datetime64[D]"))


def last_day(features: np.ndarray, near: np.datetime64) -> np.datetime64:
    """Return the date of the last row of a window, datetime64[D].

    Rows that are not consecutive days (such as one object sent many times) have none. The result
    is then a day in the middle of the last row's month, with the last row's weekday.

    Args:
        features: (days, 11), raw units.
        near: the end of the training span, which decides between years.
    """
    return _last_day(features[:, :_CALENDAR], near.astype("datetime64[D]"))


# Requests of one day hold the same window of days. The array is shared, so it is read-only.
@lru_cache(maxsize=512)
def _known_future(calendar: bytes, horizon: int, near: np.datetime64) -> np.ndarray:
    rows = np.frombuffer(calendar).reshape(-1, _CALENDAR)
    dates = _last_day(rows, near) + np.arange(1, horizon + 1)
    future = np.full((1, horizon, len(FUTURE)), np.nan)
    future[0, :, :_KNOWN] = calendar_features(dates)
    future.flags.writeable = False
    return future


def _last_day(calendar: np.ndarray, near: np.datetime64) -> np.datetime64:
    weekday = _decode_cycle(calendar[:, 0], calendar[:, 1], 7)  # Monday is 0
    month = _decode_cycle(calendar[:, 2], calendar[:, 3], 12)  # December is 0
    day = _search_last_day(weekday, month, near) if _is_exact(calendar, weekday, month) else None
    if day is not None:
        return day
    middle = _first_of_month(near, _month_number(month)) + 14
    return middle + (int(weekday[-1]) - int(weekday_of(middle)) + 3) % 7 - 3


def _search_last_day(
    weekday: np.ndarray, month: np.ndarray, near: np.datetime64
) -> np.datetime64 | None:
    """Return the last of consecutive days with these weekdays and months, None without any."""
    turns = np.flatnonzero(np.diff(month))
    if not len(turns):
        return None
    day = len(month) - 2 - int(turns[-1])  # the row after the last turn is the first of a month
    number = _month_number(month)
    for offset in sorted(range(-_YEARS, _YEARS + 1), key=lambda n: _distance(n, number, near)):
        last = _first_of_month(near, number, offset) + day
        if _is_run(last, weekday, month):
            return last
    return None


def _month_number(month: np.ndarray) -> int:
    """Return the number of the last month, January being 0."""
    return int(month[-1] + 11) % 12


def _first_of_month(near: np.datetime64, number: int, years: int = 0) -> np.datetime64:
    """Return the first day of a month (January is 0) of the year `years` after that of `near`."""
    year = near.astype("datetime64[Y]") + years
    return (year.astype("datetime64[M]") + number).astype("datetime64[D]")


def _distance(offset: int, number: int, near: np.datetime64) -> int:
    """Rank a month `offset` years on by its distance from `near`; ties go to the later month."""
    months = 12 * offset + number - int(near.astype("datetime64[M]").astype(np.int64)) % 12
    return 2 * abs(months) - (months > 0)


def _is_run(last: np.datetime64, weekday: np.ndarray, month: np.ndarray) -> bool:
    """Return whether the days up to `last` have these weekdays and months."""
    dates = last + np.arange(1 - len(month), 1)
    months = (dates.astype("datetime64[M]").astype(np.int64) + 1) % 12
    return bool((months == month).all() and (weekday_of(dates) == weekday).all())


def _decode_cycle(sine: np.ndarray, cosine: np.ndarray, period: int) -> np.ndarray:
    """Return which of `period` directions each pair is nearest to. (days,) int64."""
    turn = np.arctan2(sine, cosine) * (period / (2 * np.pi))
    return np.rint(turn).astype(np.int64) % period


def _is_exact(calendar: np.ndarray, weekday: np.ndarray, month: np.ndarray) -> bool:
    """Return whether the sines and cosines are those of a weekday and a month at all."""
    angles = np.stack([weekday * (2 * np.pi / 7), month * (2 * np.pi / 12)])
    expected = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (2, days, 2)
    pairs = calendar.reshape(-1, 2, 2).swapaxes(0, 1)
    return bool((np.abs(pairs - expected) < TOLERANCE).all())
