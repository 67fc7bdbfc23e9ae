"""Checks of a series table: errors for what cannot be used, warnings for what is unusual."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import structlog

from lib.data.panel import WINDOW_DAYS
from lib.data.parsing import Days
from lib.data.source import Source

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

# A longer gap is a wrong year rather than missing days.
MAX_GAP_DAYS = 3660
# The forecaster cannot distinguish smaller values.
SMALLEST = 1e-5


@dataclass(frozen=True)
class GroupedRows:
    """Rows of a table grouped by series; within a series they keep the order of the file.

    Attributes:
        codes: (N,) number of the series, an index into `ids`.
        day: (N,) int64, days since 1970.
        order: (N,) row of the file.
        values: (N,) float64, NaN where missing.
        ids: (S,) names of the series.
        source: of the rows, for messages.
    """

    codes: np.ndarray
    day: np.ndarray
    order: np.ndarray
    values: np.ndarray
    ids: list[str]
    source: Source

    @cached_property
    def starts(self) -> np.ndarray:
        """The first row of each series. (S,)."""
        return np.flatnonzero(np.diff(self.codes, prepend=-1))

    def name(self, row: int) -> str:
        """Return the series of a row, quoted for messages."""
        return repr(self.ids[self.codes[row]])

    def date(self, row: int) -> np.datetime64:
        """Return the day of a row."""
        return np.datetime64(int(self.day[row]), "D")

    def keys(self, *columns: str) -> list[str]:
        """Return names of columns in the file, after that of the series if there is one."""
        several = "series_id" in self.source.columns or len(self.ids) > 1
        return [self.source.column(name) for name in (*["series_id"] * several, *columns)]


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
    if not len(off):
        if days.zoned:
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


def _midnight_remedy(days: Days, several: bool, decimal: str, source: Source) -> str:
    date, value, series = (source.column(name) for name in ("date", "value", "series_id"))
    day_first = ", dayfirst=True" if days.day_first else ""
    times = f'frame["{date}"] = pd.to_datetime(frame["{date}"]{day_first})'
    if len(np.unique(days.clock)) > 1:
        reading = source.reading
        if decimal == ",":
            reading = reading.removesuffix(")") + ', decimal=",")'
        by = f'.groupby("{series}")' if several else ""
        line = f'{reading}; {times}; daily = frame.set_index("{date}"){by}["{value}"]'
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


@cache
def _schema() -> DataFrameSchema:
    """Return the checks of single cells. pandera is imported on use: it takes half a second."""
    import pandera.pandas as pa

    finite = pa.Check(lambda column: ~np.isinf(column), error="a finite number, or nothing")
    return pa.DataFrameSchema(
        {
            "series_id": pa.Column(
                str, pa.Check(lambda column: column != "", error="the name of a series")
            ),
            "date": pa.Column("datetime64[us]"),
            "value": pa.Column(float, finite, nullable=True),
            "fator_externo": pa.Column(float, finite, nullable=True),
            "evento_especial": pa.Column(
                float, pa.Check.in_range(0, 1, error="0 to 1 (0: none, 1: event)"), nullable=True
            ),
        },
        strict=True,
        ordered=True,
    )


def check_cells(table: pd.DataFrame, source: Source) -> None:
    """Check the cells of a typed table: finite numbers, events in 0 to 1, names of series.

    Raises:
        SeriesError: names the first row whose cell is not valid.
    """
    from pandera.errors import SchemaErrors

    try:
        _schema().validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable")
        first = cases.iloc[0]
        case = first["failure_case"]
        raise source.error(
            f"got {case!r}" if isinstance(case, str) else f"got {case}",
            column=first["column"],
            row=int(first["index"]),
            count=int((cases["column"] == first["column"]).sum()),
            expected=str(first["check"]),
            remedy="Correct it, or leave it blank where it is not known"
            if first["column"] != "series_id"
            else "Fill in the name or drop the row",
        ) from None


def check_days(rows: GroupedRows) -> None:
    """Check that the days of each series go up, without a gap of years.

    Raises:
        SeriesError: names the first row with a repeated day, a step back or a wrong year.
    """
    same = rows.codes[1:] == rows.codes[:-1]
    step = np.diff(rows.day)
    if (same & (step <= 0)).any():
        _check_duplicates(rows)
        _check_order(rows, np.flatnonzero(same & (step < 0)))
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
        remedy="Set SERIES_COLUMN if the file holds several series; otherwise drop one, or add "
        f'them up: frame.groupby({rows.keys("date")})["{source.column("value")}"]'
        ".sum(min_count=1).reset_index()",
    )


def _check_order(rows: GroupedRows, backwards: np.ndarray) -> None:
    if not len(backwards):
        return
    i = int(backwards[np.argmin(rows.order[backwards + 1])])
    raise rows.source.error(
        f"{rows.date(i + 1)} comes after {rows.date(i)} in series {rows.name(i)}",
        column="date",
        row=int(rows.order[i + 1]),
        count=len(backwards),
        expected="the days of a series in rising order",
        remedy=f"Sort the file: frame.sort_values({rows.keys('date')})",
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


def check_series(rows: GroupedRows, lengths: np.ndarray, min_days: int) -> None:
    """Check each series as a whole, and warn of short and of constant ones.

    Args:
        rows: of the table.
        lengths: (S,) days from the first to the last of each series.
        min_days: days that at least one series must have.

    Raises:
        SeriesError: all series are too short, one has no value, or all values are tiny.
    """
    _check_lengths(rows, lengths, min_days)
    # fmin and fmax skip missing values.
    low = np.fmin.reduceat(rows.values, rows.starts)
    high = np.fmax.reduceat(rows.values, rows.starts)
    _check_any_value(rows, np.flatnonzero(np.isnan(low)))
    _check_magnitude(rows, np.fmax(-low, high).max())
    _warn_of_constants(rows, np.flatnonzero(low == high))


def _check_lengths(rows: GroupedRows, lengths: np.ndarray, min_days: int) -> None:
    short = np.flatnonzero(lengths < min_days)
    if len(short) == len(rows.ids):
        others = f", and none of {len(rows.ids)} has enough" if len(rows.ids) > 1 else ""
        raise rows.source.error(
            f"series {rows.ids[0]!r} has {lengths[0]} days from first to last{others}",
            column="date",
            row=int(rows.order[rows.starts[0]]),
            expected=f"at least {min_days}, "
            + ("one window" if min_days == WINDOW_DAYS else "as requested"),
            remedy="Give a longer history",
        )
    if len(short):
        structlog.get_logger().warning(
            "series_short",
            file=rows.source.name,
            series=[rows.ids[s] for s in short[:10]],
            count=len(short),
            days=int(lengths[short].min()),
            advice=f"kept; little can be learned from fewer than {min_days} days",
        )


def _check_any_value(rows: GroupedRows, empty: np.ndarray) -> None:
    if not len(empty):
        return
    s = int(empty[0])
    name = rows.ids[s]
    series = f'frame["{rows.source.column("series_id")}"].astype(str)'
    drop = f', or drop it: frame[{series} != "{name}"]' if len(rows.ids) > 1 else ""
    others = f", as are those of {len(empty) - 1} others" if len(empty) > 1 else ""
    raise rows.source.error(
        f"every value of series {name!r} is missing{others}",
        column="value",
        row=int(rows.order[rows.starts[s]]),
        expected="known values",
        remedy=f"Set VALUE_COLUMN to the column that holds them{drop}",
    )


def _check_magnitude(rows: GroupedRows, largest: float) -> None:
    if 0 < largest < SMALLEST:
        raise rows.source.error(
            f"no value is larger than {largest:.3g}",
            column="value",
            expected=f"some of {SMALLEST:g} or more",
            remedy="Give them in a smaller unit, such as millionths",
        )


def _warn_of_constants(rows: GroupedRows, constant: np.ndarray) -> None:
    if not len(constant):
        return
    s = int(constant[0])
    row = int(rows.order[rows.starts[s]])
    structlog.get_logger().warning(
        "series_constant",
        file=rows.source.name,
        series=rows.ids[s],
        value=float(np.fmin.reduceat(rows.values, rows.starts)[s]),
        count=len(constant),
        row=rows.source.locate(row),
        advice="kept; its forecast is that constant",
    )
