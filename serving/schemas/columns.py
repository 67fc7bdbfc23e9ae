"""Read the rows of a history or a future as columns, checked as arrays.

A call may bring a thousand series of a thousand days: a model a row would be slow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import numpy as np

from serving.http import invalid
from serving.schemas.covariates import CovariateFields, as_float
from serving.schemas.fields import FIRST_DAY, LAST_DAY
from serving.schemas.series_body import HistoryDay

VALUE, FACTOR, EVENT = "value", "fator_externo", "evento_especial"
_NUMBERS = {float, int}
_MISSING = type(None)


def read_columns(
    rows: list[Any],
    needed: tuple[str, ...],
    field: str,
    covariates: CovariateFields,
    others: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Return value, factor and event of rows, NaN where null or left out.

    Args:
        rows: dicts, or HistoryDay.
        needed: names that no row may leave out.
        field: path of the rows.
        covariates: of the model, which refuses other names.
        others: names of those covariates that a row may have.
    """
    names = (*needed, FACTOR, EVENT)
    if isinstance(rows[0], HistoryDay):  # decoded with its types checked
        return {
            name: _typed_numbers(list(map(attrgetter(name), rows)), name, field) for name in names
        }
    allowed = {"date", *names, *others}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"{field}[{i}]", "expected an object")
        if not row.keys() <= allowed:
            extra = next(key for key in row if key not in allowed)
            raise invalid(f"{field}[{i}].{extra[:60]}", covariates.refusal(extra, list(allowed)))
        for name in ("date", *needed):
            if name not in row:
                raise invalid(f"{field}[{i}].{name}", "is missing")
    return {name: _numbers([row.get(name) for row in rows], name, field) for name in names}


def _typed_numbers(cells: list[Any], name: str, field: str) -> np.ndarray:
    if (left_out := cells.count(msgspec.UNSET)) == len(cells):
        return np.full(len(cells), np.nan)
    if left_out:
        cells = [None if cell is msgspec.UNSET else cell for cell in cells]
    return _within_limits(np.array(cells, dtype=np.float64), name, field)


def _numbers(cells: list[Any], name: str, field: str) -> np.ndarray:
    if not set(map(type, cells)) <= _NUMBERS | {_MISSING}:
        i = next(i for i, c in enumerate(cells) if type(c) not in _NUMBERS | {_MISSING})
        kind = "a boolean" if isinstance(cells[i], bool) else type(cells[i]).__name__
        raise invalid(f"{field}[{i}].{name}", f"expected a number or null, got {kind}")
    try:
        column = np.array(cells, dtype=np.float64)
    except OverflowError:
        column = np.array([np.nan if c is None else as_float(c) for c in cells])
    return _within_limits(column, name, field)


def _within_limits(column: np.ndarray, name: str, field: str) -> np.ndarray:
    """Return a column unless one of its numbers is refused."""
    bad = np.isinf(column)
    limits = "a finite number"
    if name == EVENT:
        bad, limits = bad | (column < 0) | (column > 1), "a number from 0 to 1"
    if bad.any():
        raise invalid(f"{field}[{np.flatnonzero(bad)[0]}].{name}", f"expected {limits}")
    return column


def read_days(rows: list[Any], field: str) -> np.ndarray:
    """Return the dates (rows,) of rows as datetime64[D], each later than the one before."""
    typed = isinstance(rows[0], HistoryDay)
    written = list(map(attrgetter("date") if typed else itemgetter("date"), rows))
    try:
        days = _parse_days("\n".join(written), len(rows))
    except (ValueError, TypeError):
        i = next(i for i, text in enumerate(written) if not _is_day(text))
        raise invalid(f"{field}[{i}].date", _fault_of(written[i])) from None
    back = np.flatnonzero(np.diff(days).astype(np.int64) <= 0)
    if len(back):
        i = int(back[0]) + 1
        again = "is there twice" if days[i] == days[i - 1] else f"comes after {days[i - 1]}"
        raise invalid(f"{field}[{i}].date", f"{days[i]} {again}; expected the oldest day first")
    return days


# The series of a call mostly have the same days. The array is shared, so it is read-only.
@lru_cache(maxsize=8)
def _parse_days(text: str, count: int) -> np.ndarray:
    """Return the days of `count` dates with a line break between two."""
    written = text.split("\n")
    if len(written) != count:
        raise ValueError
    days = np.array(list(map(_day, written)), dtype="datetime64[D]")
    days.flags.writeable = False
    return days


def _day(text: Any) -> str:
    # Only this form: NumPy also reads months, times and NaT.
    if not isinstance(text, str) or len(text) != 10:
        raise ValueError
    if text[4] != "-" or text[7] != "-" or not text.isascii():
        raise ValueError
    if not (text[:4] + text[5:7] + text[8:]).isdigit() or not FIRST_DAY <= text <= LAST_DAY:
        raise ValueError
    return text


def _is_day(text: Any) -> bool:
    try:
        return not np.isnat(np.datetime64(_day(text), "D"))
    except ValueError:
        return False


def _fault_of(text: Any) -> str:
    """Say what is wrong with a date."""
    is_written_so = isinstance(text, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)
    if is_written_so and not FIRST_DAY <= text <= LAST_DAY:
        return f"expected a day from {FIRST_DAY} to {LAST_DAY}, got {text}"
    return "expected an ISO day such as 2026-01-31"
