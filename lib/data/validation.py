"""Checks of the rows of a series table: times of day, cells, repeated days, gaps of years."""

from __future__ import annotations

import numpy as np
import pandas as pd
import structlog

from lib.data.grouped_rows import GroupedRows
from lib.data.parsing import Days
from lib.data.source import Source

# A longer gap is a wrong year rather than missing days.
MAX_GAP_DAYS = 3660
HOUR = 3600.0  # seconds


def check_midnight(days: Days, several: bool, decimal: str, source: Source) -> None:
    """Refuse rows within the day: the user decides how they add up to days.

    Args:
        days: of the rows.
        several: whether the table has a column of series.
        decimal: the decimal mark of the file.
        source: of the rows, for messages.

    Raises:
        SeriesError: a row is not at midnight; the message holds the pandas line that helps.
    """
    off = np.flatnonzero(days.clock)
    if not len(off) or _is_first_hour_of_short_days(days, off):
        if days.zoned or len(off):
            structlog.get_logger().info("series_local_days", file=source.name)
        return
    row = int(off[0])
    clock = np.timedelta64(int(days.clock[row]), "s")
    raise source.error(
        f"the time is {days.day[row] + clock}, not midnight",
        column="date",
        row=row,
        count=len(off),
        expected="daily rows",
        remedy=_midnight_remedy(days, several, decimal, source),
    )


def _is_first_hour_of_short_days(days: Days, off: np.ndarray) -> bool:
    """Return whether the rows off midnight begin days whose midnight was skipped by the clock.

    Without a zone that is 01:00 on a few days, at least half a year apart, without another row.
    """
    late = np.unique(days.day[off])
    at_midnight = np.unique(days.day[days.clock == 0])
    return bool(
        (days.clock[off] == HOUR).all()
        and len(late) < len(at_midnight) / 60
        and (np.diff(late) > np.timedelta64(150, "D")).all()
        and not np.isin(late, at_midnight).any()
    )


def prepare_line(days: Days, decimal: str, source: Source) -> str:
    """Return the pandas line that reads the file and its dates, for the remedies of messages."""
    reading = source.reading
    if decimal == ",":
        reading = reading.removesuffix(")") + ', decimal=",")'
    return f"{reading}; {_times_line(days, source)}"


def _times_line(days: Days, source: Source) -> str:
    date = source.column("date")
    day_first = ", dayfirst=True" if days.day_first else ""
    return f'frame["{date}"] = pd.to_datetime(frame["{date}"]{day_first})'


def _midnight_remedy(days: Days, several: bool, decimal: str, source: Source) -> str:
    date, value, series = (source.column(name) for name in ("date", "value", "series_id"))
    times = _times_line(days, source)
    if len(np.unique(days.clock)) > 1:
        by = f'.groupby("{series}")' if several else ""
        prepared = prepare_line(days, decimal, source)
        line = f'{prepared}; daily = frame.set_index("{date}"){by}["{value}"]'
        return (
            f'Make days of them: {line}.resample("D").sum(min_count=1).reset_index() '
            "(or .mean(), for a level rather than an amount)"
        )
    if days.zoned:
        return (
            "If these are midnights in another time zone, write local days: "
            f'{times}.dt.tz_convert("America/Sao_Paulo").dt.tz_localize(None)'
        )
    return f"If there is one row a day, drop the time: {times}.dt.normalize()"


def check_cells(table: pd.DataFrame, source: Source) -> None:
    """Check the cells of a typed table: finite numbers, events in 0 to 1, names of series.

    Raises:
        SeriesError: names the first row whose cell is not valid.
    """
    event, number = table["evento_especial"], "a finite number, or nothing"
    wrong = {
        "series_id": (table["series_id"] == "", "the name of a series"),
        "value": (np.isinf(table["value"]), number),
        "fator_externo": (np.isinf(table["fator_externo"]), number),
        "evento_especial": ((event < 0) | (event > 1), "0 to 1 (0: none, 1: event)"),
    }
    rows = {column: np.flatnonzero(cells) for column, (cells, _) in wrong.items()}
    invalid = [column for column, own in rows.items() if len(own)]
    if not invalid:
        return
    column = min(invalid, key=lambda name: rows[name][0])
    row = int(rows[column][0])
    case = table[column].iloc[row]
    raise source.error(
        f"got {case!r}" if isinstance(case, str) else f"got {case}",
        column=column,
        row=row,
        count=len(rows[column]),
        expected=wrong[column][1],
        remedy="Correct it, or leave it blank where it is not known"
        if column != "series_id"
        else "Fill in the name or drop the row",
    )


def check_days(rows: GroupedRows) -> None:
    """Check that no day of a series is repeated, and that no gap is one of years.

    Rows that are not sorted by day in the file are used all the same, with a warning.

    Raises:
        SeriesError: names the first row with a repeated day or a wrong year.
    """
    same = rows.codes[1:] == rows.codes[:-1]
    step = np.diff(rows.day)
    if (same & (step == 0)).any():
        _check_duplicates(rows)
    _warn_of_order(rows, same)
    _check_gaps(rows, np.where(same, step, 1))


def _check_duplicates(rows: GroupedRows) -> None:
    source = rows.source
    by_day = np.lexsort((rows.order, rows.day, rows.codes))
    repeated = (np.diff(rows.day[by_day]) == 0) & (np.diff(rows.codes[by_day]) == 0)
    pairs = np.flatnonzero(repeated)
    if not len(pairs):
        return
    i = int(pairs[np.argmin(rows.order[by_day[pairs + 1]])])
    first, second = int(by_day[i]), int(by_day[i + 1])
    raise source.error(
        f"{rows.date(first)} is there a second time in series {rows.name(first)} "
        f"(first in {source.locate(int(rows.order[first]))})",
        column="date",
        row=int(rows.order[second]),
        count=len(pairs),
        expected="each day once in a series",
        remedy=f"Set {source.parameter('series_id')} if it holds several series; otherwise drop "
        "one, or add "
        f'them up: frame.groupby({rows.keys("date")})["{source.column("value")}"]'
        ".sum(min_count=1).reset_index()",
    )


def _warn_of_order(rows: GroupedRows, same: np.ndarray) -> None:
    backwards = np.flatnonzero(same & (np.diff(rows.order) < 0))
    if not len(backwards):
        return
    first = int(backwards[np.argmin(rows.order[backwards])])
    structlog.get_logger().warning(
        "series_sorted",
        file=rows.source.name,
        count=len(backwards),
        row=rows.source.locate(int(rows.order[first])),
        series=rows.ids[rows.codes[first]],
        advice="the days of a series were not in rising order; they are now",
    )


def _check_gaps(rows: GroupedRows, step: np.ndarray) -> None:
    if not (step > MAX_GAP_DAYS).any():
        return
    i = int(np.argmax(step > MAX_GAP_DAYS))
    raise rows.source.error(
        f"{rows.date(i + 1)} is {step[i]:,} days after {rows.date(i)}",
        column="date",
        row=int(rows.order[i + 1]),
        expected=f"gaps of at most {MAX_GAP_DAYS:,} days",
        remedy="Correct the year, or keep only the rows after the gap",
    )
