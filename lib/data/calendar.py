"""Weekday and day of the year of dates, for all of the library."""

from __future__ import annotations

import numpy as np

WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def weekday_of(dates: np.ndarray | np.datetime64) -> np.ndarray:
    """Return the weekday of each date, 0 for Monday to 6 for Sunday.

    Args:
        dates: datetime64, any shape.

    Returns:
        int64, the shape of `dates`.

    >>> weekday_of(np.array(["2024-01-01", "2024-01-07"], dtype="datetime64[D]")).tolist()
    [0, 6]
    """
    # 1970-01-01 was a Thursday
    return np.asarray((dates.astype("datetime64[D]").astype(np.int64) + 3) % 7)


def day_of_year(dates: np.ndarray | np.datetime64) -> np.ndarray:
    """Return the days since 1 January of each date's year, from 0.

    Args:
        dates: datetime64, any shape.

    Returns:
        int64, the shape of `dates`.

    >>> day_of_year(np.array(["2024-01-01", "2024-12-31"], dtype="datetime64[D]")).tolist()
    [0, 365]
    """
    days = dates.astype("datetime64[D]")
    first = days.astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray((days - first).astype(np.int64))
