"""What is refused in a series table, and what is only told."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import structlog

from lib.data.panel import WINDOW_DAYS
from lib.data.parsing import Days
from lib.data.readers import Source

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema


# A longer gap is a wrong year rather than missing days.
MAX_GAP_DAYS = 3660
# The forecaster cannot tell the days of smaller values from one another.
SMALLEST = 1e-5


def check_midnight(days: Days, several: bool, decimal: str, source: Source) -> None:
    """Refuse rows within the day: how to add them up is the user's decision, and one line."""
    off = np.flatnonzero(days.clock)
    if not len(off):
        if days.zoned:
            structlog.get_logger().info("series_local_days", file=source.name)
        return
    date, value, series = (source.column(name) for name in ("date", "value", "series_id"))
    row = int(off[0])
    clock = np.timedelta64(int(days.clock[row]), "s")
    day_first = ", dayfirst=True" if days.day_first else ""
    times = f'frame["{date}"] = pd.to_datetime(frame["{date}"]{day_first})'
    reading = source.reading
    if decimal == ",":
        reading = reading.removesuffix(")") + ', decimal=",")'
    if len(np.unique(days.clock)) > 1:
        by = f'.groupby("{series}")' if several else ""
        line = f'{reading}; {times}; daily = frame.set_index("{date}"){by}["{value}"]'
        remedy = (
            f'Make days of them: {line}.resample("D").sum(min_count=1).reset_index() '
            "(or .mean(), for a level rather than an amount)"
        )
    elif days.zoned:
        remedy = (
            "If these are midnights in another time zone, write local days: "
            f'{times}.dt.tz_convert("America/Sao_Paulo").dt.tz_localize(None)'
        )
    else:
        remedy = f"If there is one row a day, drop the time: {times}.dt.normalize()"
    raise source.error(
        f"the time is {days.day[row] + clock}, not midnight",
        column="date",
        row=row,
        count=len(off),
        expected="daily rows",
        remedy=remedy,
    )


@cache
def _schema() -> DataFrameSchema:
    """The checks of single cells. Imported on use: pandera takes longer than a small file."""
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
    """Check the cells of a typed table: finite numbers, events in 0 to 1, names of series."""
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


def check_days(
    codes: np.ndarray, day: np.ndarray, order: np.ndarray, ids: list[str], source: Source
) -> None:
    """Check that the days of each series go up. All (N,), rows grouped by series in file order.

    `codes` numbers the series into `ids`, `day` counts from 1970, `order` is the row of the file.
    """
    several = "series_id" in source.columns or len(ids) > 1
    series = [source.column("series_id")] if several else []
    same = codes[1:] == codes[:-1]
    step = np.diff(day)
    if (same & (step <= 0)).any():
        by_day = np.lexsort((order, day, codes))
        twice = (np.diff(day[by_day]) == 0) & (np.diff(codes[by_day]) == 0)
        if twice.any():
            pairs = np.flatnonzero(twice)
            i = int(pairs[np.argmin(order[by_day[pairs + 1]])])
            before, here = int(order[by_day[i]]), int(order[by_day[i + 1]])
            keys = [*series, source.column("date")]
            raise source.error(
                f"{_day(day[by_day[i]])} is there a second time in series "
                f"{ids[codes[by_day[i]]]!r} (first in {source.locate(before)})",
                column="date",
                row=here,
                count=int(twice.sum()),
                expected="each day once in a series",
                remedy="Set SERIES_COLUMN if the file holds several series; otherwise drop one, "
                f'or add them up: frame.groupby({keys})["{source.column("value")}"]'
                ".sum(min_count=1).reset_index()",
            )
        backwards = np.flatnonzero(same & (step < 0))
        i = int(backwards[np.argmin(order[backwards + 1])])
        raise source.error(
            f"{_day(day[i + 1])} comes after {_day(day[i])} in series {ids[codes[i]]!r}",
            column="date",
            row=int(order[i + 1]),
            count=len(backwards),
            expected="the days of a series in rising order",
            remedy=f"Sort the file: frame.sort_values({[*series, source.column('date')]})",
        )
    if (same & (step > MAX_GAP_DAYS)).any():
        i = int(np.argmax(same & (step > MAX_GAP_DAYS)))
        raise source.error(
            f"{_day(day[i + 1])} is {step[i]:,} days after {_day(day[i])}",
            column="date",
            row=int(order[i + 1]),
            expected=f"gaps of at most {MAX_GAP_DAYS:,} days",
            remedy="Correct the year, or keep only the rows after the gap",
        )


def check_series(
    values: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    order: np.ndarray,
    ids: list[str],
    source: Source,
    min_days: int,
) -> None:
    """Check each series as a whole: one is long enough, none is all missing; what is odd is told.

    `values` (N,) and `order` (N,) are grouped by series; `starts` and `lengths` (in days) (S,).
    """
    short = np.flatnonzero(lengths < min_days)
    if len(short) == len(ids):
        raise source.error(
            f"series {ids[0]!r} has {lengths[0]} days from first to last"
            + (f", and none of {len(ids)} has enough" if len(ids) > 1 else ""),
            column="date",
            row=int(order[starts[0]]),
            expected=f"at least {min_days}, "
            + ("one window" if min_days == WINDOW_DAYS else "as asked for"),
            remedy="Give a longer history",
        )
    if len(short):
        structlog.get_logger().warning(
            "series_short",
            file=source.name,
            series=[ids[s] for s in short[:10]],
            count=len(short),
            days=int(lengths[short].min()),
            advice=f"kept; of fewer than {min_days} days little is learned",
        )
    # fmin and fmax pass over what is missing.
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    empty = np.flatnonzero(np.isnan(low))
    if len(empty):
        s = int(empty[0])
        names = f'frame["{source.column("series_id")}"].astype(str)'
        drop = f', or drop it: frame[{names} != "{ids[s]}"]' if len(ids) > 1 else ""
        raise source.error(
            f"every value of series {ids[s]!r} is missing"
            + (f", as are those of {len(empty) - 1} others" if len(empty) > 1 else ""),
            column="value",
            row=int(order[starts[s]]),
            expected="known values",
            remedy=f"Set VALUE_COLUMN to the column that holds them{drop}",
        )
    size = np.fmax(-low, high).max()
    if 0 < size < SMALLEST:
        raise source.error(
            f"no value is larger than {size:.3g}",
            column="value",
            expected=f"some of {SMALLEST:g} or more",
            remedy="Give them in a smaller unit, such as millionths",
        )
    constant = np.flatnonzero(low == high)
    if len(constant):
        s = int(constant[0])
        structlog.get_logger().warning(
            "series_constant",
            file=source.name,
            series=ids[s],
            value=float(low[s]),
            count=len(constant),
            row=source.locate(int(order[starts[s]])),
            advice="kept; its forecast is that constant",
        )


def _day(number: int) -> np.datetime64:
    return np.datetime64(int(number), "D")
