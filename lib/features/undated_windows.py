"""The days that follow a window of feature rows that carry no dates.

Feature rows name weekday and month. Any 60 consecutive days contain a first of a month, which
fixes the day of the month, and with it everything but the year. The year matters for two things:
whether there is a 29th of February, and the day of the year after it. A window that spans
February tells by itself; of other windows, the weekday rules out most years, and of the rest the
one nearest to the end of the model's training span is taken. Weekday and day repeat after 5, 6 or
11 years, so that is the right one within two years of that end. Further away, the 28th of
February may be followed by the wrong day, and the day of the year be off by one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lib.features import engineering as ft

# Clients may round their sines; neighbouring months are 0.5 apart.
TOLERANCE = 0.05
_YEARS = 28  # after which weekdays repeat
_CALENDAR = 4  # columns of FEATURES, sines and cosines of weekday and month
_KNOWN = 6  # columns of FUTURE, the same and the day of the year


def future_after(features: np.ndarray, horizon: int, near: np.datetime64) -> np.ndarray:
    """The known future of one window: its calendar; events, factor and last year are unknown.

    Args:
        features: (days, 11), raw units.
        horizon: days.
        near: the end of the training span, which decides between years.
    Returns:
        (1, horizon, len(FUTURE)), NaN where unknown.
    """
    calendar = np.ascontiguousarray(features[:, :_CALENDAR], dtype=np.float64)
    return _future(calendar.tobytes(), horizon, near.astype("datetime64[D]"))


def last_day(features: np.ndarray, near: np.datetime64) -> np.datetime64:
    """The date of the last row of a window. (days, 11) → datetime64[D].

    Rows that are not consecutive days (such as one object sent many times) have none: then it is
    a day in the middle of the last row's month, of the last row's weekday.
    """
    return _last_day(features[:, :_CALENDAR], near.astype("datetime64[D]"))


# Requests of one day come with the same window of days. The result is shared: not to be written.
@lru_cache(maxsize=512)
def _future(calendar: bytes, horizon: int, near: np.datetime64) -> np.ndarray:
    rows = np.frombuffer(calendar).reshape(-1, _CALENDAR)
    dates = _last_day(rows, near) + np.arange(1, horizon + 1)
    future = np.full((1, horizon, len(ft.FUTURE)), np.nan)
    future[0, :, :_KNOWN] = ft.calendar_features(dates)
    future.flags.writeable = False
    return future


def _last_day(calendar: np.ndarray, near: np.datetime64) -> np.datetime64:
    weekday = _code(calendar[:, 0], calendar[:, 1], 7)  # Monday is 0
    month = _code(calendar[:, 2], calendar[:, 3], 12)  # December is 0
    exact = _matches(calendar, weekday, month)
    near_year = int(near.astype("datetime64[Y]").astype(np.int64))
    turns = np.flatnonzero(np.diff(month))
    number = int(month[-1] + 11) % 12  # January is 0
    if exact and len(turns):
        # The row after the last turn is the first of a month.
        day = len(month) - 2 - int(turns[-1])
        for offset in sorted(range(-_YEARS, _YEARS + 1), key=lambda n: _distance(n, number, near)):
            first = np.datetime64(near_year + offset, "Y").astype("datetime64[M]") + number
            last = first.astype("datetime64[D]") + day
            if _is_run(last, weekday, month):
                return last
    middle = (np.datetime64(near_year, "Y").astype("datetime64[M]") + number).astype(
        "datetime64[D]"
    ) + 14
    shift = (int(weekday[-1]) - _weekday(middle) + 3) % 7 - 3
    return middle + shift


def _distance(offset: int, number: int, near: np.datetime64) -> int:
    """Months from the end of training to a month `offset` years on; ties go to the later."""
    months = 12 * offset + number - int(near.astype("datetime64[M]").astype(np.int64)) % 12
    return 2 * abs(months) - (months > 0)


def _is_run(last: np.datetime64, weekday: np.ndarray, month: np.ndarray) -> bool:
    dates = last + np.arange(1 - len(month), 1)
    months = (dates.astype("datetime64[M]").astype(np.int64) + 1) % 12
    return bool((months == month).all() and ((dates.astype(np.int64) + 3) % 7 == weekday).all())


def _weekday(date: np.datetime64) -> int:
    return int(date.astype(np.int64) + 3) % 7


def _code(sine: np.ndarray, cosine: np.ndarray, period: int) -> np.ndarray:
    """Which of `period` directions each pair is nearest to. → (days,) int64."""
    turn = np.arctan2(sine, cosine) * (period / (2 * np.pi))
    return np.rint(turn).astype(np.int64) % period


def _matches(calendar: np.ndarray, weekday: np.ndarray, month: np.ndarray) -> bool:
    """Whether the sines and cosines are those of a weekday and a month at all."""
    angles = np.stack([weekday * (2 * np.pi / 7), month * (2 * np.pi / 12)])
    expected = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (2, days, 2)
    given = calendar.reshape(-1, 2, 2).swapaxes(0, 1)
    return bool((np.abs(given - expected) < TOLERANCE).all())
