"""Frequency of series: daily is expected; weekly, monthly or other regular data is refused.

Each series is judged by the days on which it has a value. Gaps do no harm: weekly data with lost
weeks still keeps one weekday, and daily data with many random gaps keeps none.
"""

from __future__ import annotations

import numpy as np

from lib.data.calendar import weekday_of
from lib.data.grouped_rows import GroupedRows

MIN_OBSERVED = 8  # values of a series before a regular step is more than chance
MIN_MONTHS = 5  # the same for one value a month or less often
REGULAR_SHARE = 0.9  # of the values on one weekday, or on one day of the month
STEP_SHARE = 0.75  # of the steps that are equal
DAILY_SHARE = 0.3  # of the steps that are one day: such a series is daily
MONTH_EDGE = 4  # days at either end of a month that count as its first or last
MONTHS = {1: "monthly", 3: "quarterly", 6: "half-yearly", 12: "yearly"}
DAYS = {2: "every second day", 7: "weekly", 14: "fortnightly"}


def find_frequency(days: np.ndarray) -> str:
    """Return how often a series has a value: "daily", "weekly", "monthly" and so on.

    "daily" is everything without a regular longer step.

    Args:
        days: (n,) int64, the days with a value since 1970, rising.

    >>> monday = np.arange(4, 200, 7)
    >>> find_frequency(monday), find_frequency(np.arange(30)), find_frequency(monday[[0, 2, 5]])
    ('weekly', 'daily', 'daily')
    """
    steps = np.diff(days)
    if len(steps) < MIN_MONTHS - 1 or (steps == 1).mean() >= DAILY_SHARE:
        return "daily"
    step = int(np.median(steps))
    return _find_monthly(days.astype("datetime64[D]"), step) or _find_weekly(days, steps) or "daily"


def _find_weekly(days: np.ndarray, steps: np.ndarray) -> str:
    """Return the name of a regular number of days, "" where there is none."""
    if len(days) < MIN_OBSERVED:
        return ""
    step = int(np.median(steps))
    weekdays = np.bincount(weekday_of(days.astype("datetime64[D]")), minlength=7)
    on_one_weekday = weekdays.max() >= REGULAR_SHARE * len(days)
    if not on_one_weekday and (steps == step).mean() < STEP_SHARE:
        return ""
    if on_one_weekday:
        step = max(7, (step + 3) // 7 * 7)
    return DAYS.get(step, f"every {step} days") if step > 1 else ""


def _find_monthly(days: np.ndarray, step: int) -> str:
    """Return the name of a regular number of months, "" where there is none."""
    if step < 27:
        return ""
    months = days.astype("datetime64[M]")
    from_start = (days - months.astype("datetime64[D]")).astype(np.int64)
    from_end = ((months + 1).astype("datetime64[D]") - days).astype(np.int64) - 1
    same_day = np.bincount(from_start).max() / len(days)
    at_edge = max((from_start < MONTH_EDGE).mean(), (from_end < MONTH_EDGE).mean())
    one_a_month = len(np.unique(months)) == len(days)
    if not one_a_month or max(same_day, at_edge) < REGULAR_SHARE:
        return ""
    count = int(np.median(np.diff(months.astype(np.int64))))
    return MONTHS.get(count, f"every {count} months")


def check_frequency(rows: GroupedRows) -> None:
    """Refuse series that are regular but not daily.

    Raises:
        SeriesError: names what was found, the first such series and the line of pandas that makes
            days of it.
    """
    observed = np.isfinite(rows.values)
    codes, days = rows.codes[observed], rows.day[observed]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    single = np.append(np.diff(days) == 1, False)
    share = np.add.reduceat(single, starts) / np.diff(np.append(starts, len(codes)))
    found = {}
    for i in np.flatnonzero(share < DAILY_SHARE):
        stop = starts[i + 1] if i + 1 < len(starts) else len(codes)
        name = find_frequency(days[starts[i] : stop])
        if name != "daily":
            found[int(codes[starts[i]])] = (name, days[starts[i] : stop])
    if found:
        raise _frequency_error(rows, found)


def _frequency_error(rows: GroupedRows, found: dict[int, tuple[str, np.ndarray]]) -> Exception:
    source = rows.source
    code, (name, days) = next(iter(found.items()))
    first, second, last = (np.datetime64(int(day), "D") for day in (*days[:2], days[-1]))
    others = f", as are {len(found) - 1} other series" if len(found) > 1 else ""
    date, value, series = (source.column(key) for key in ("date", "value", "series_id"))
    if len(rows.ids) > 1:
        frame = f'frame.set_index("{date}").groupby("{series}")["{value}"]'
        line = f'{frame}.apply(lambda one: one.resample("D").interpolate())'
    else:
        line = f'frame.set_index("{date}")["{value}"].resample("D").interpolate()'
    leave_out = ""
    if len(found) < len(rows.ids):
        leave_out = f', or leave out such series: frame[frame["{series}"] != "{rows.ids[code]}"]'
    raise source.error(
        f"{name} data found: series {rows.ids[code]!r} has {len(days)} values from {first}, "
        f"{second} to {last}{others}",
        column="date",
        row=int(rows.order[rows.starts[code]]),
        expected="a value a day (or a working day)",
        remedy=f"Give the daily rows that it was made from{leave_out}, or make days of it. Totals "
        "first have to be divided by the days that they add up; a level stays as it is: "
        f"{source.preparation}; daily = {line}.reset_index()",
    )
