"""Read the histories of a `/forecast` body as a panel, checked as `SeriesHistory` would check them.

Columns are checked as arrays: a call may bring a thousand series of a thousand days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.data import Panel
from lib.features import YEAR, compute_features
from lib.inference import Contract
from serving.http import invalid
from serving.schemas.forecasts import DAYS, ROWS, SERIES

_NUMBERS = {float, int}
_MISSING = type(None)
_ROLLING = 30  # days that the features of a day look back on
_MONTH = 28  # days that last year's level looks back on
_VALUE, _FACTOR, _EVENT = "value", "fator_externo", "evento_especial"


@dataclass(frozen=True)
class Histories:
    """Series as one panel, each followed by its horizon.

    Attributes:
        panel: the series and the days to forecast, whose values are NaN.
        origins: (series,) row of the last known day of each series.
    """

    panel: Panel
    origins: np.ndarray


@dataclass(frozen=True)
class _Series:
    name: str
    first: np.datetime64
    days: int  # up to the last of the history
    columns: dict[str, np.ndarray]  # each (days + horizon,)


def read_histories(
    items: list[dict[str, Any]], contract: Contract, context: int, place: str
) -> Histories:
    """Read and check series, and append the model's horizon of days to each.

    Args:
        items: objects with `history`, and perhaps `series_id` and `future`.
        contract: of the model that forecasts.
        context: days that the model looks at; one of them at least must be known.
        place: path of a series with `{}` for its number, "" for a body that is one.

    Returns:
        The series as a panel, in the order of the items.

    Raises:
        RequestError: 422, naming the field.
    """
    if len(items) > SERIES:
        raise invalid("series", f"expected at most {SERIES} series, got {len(items)}")
    sent = (item.get("history") for item in items if isinstance(item, dict))
    if (rows := sum(len(days) for days in sent if isinstance(days, list))) > ROWS:
        raise invalid("series", f"expected at most {ROWS} days in one call, got {rows}")
    read = [_series(item, contract, context, place.format(i)) for i, item in enumerate(items)]
    names = [series.name for series in read]
    if len(set(names)) != len(names):
        i = next(i for i, name in enumerate(names) if name in names[:i])
        raise invalid(f"{place.format(i)}series_id", "is the name of an earlier series as well")
    lengths = [series.days + contract.horizon for series in read]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    panel = Panel(
        tuple(names),
        offsets,
        np.concatenate([s.first + np.arange(n) for s, n in zip(read, lengths, strict=True)]),
        *(np.concatenate([s.columns[name] for s in read]) for name in (_VALUE, _FACTOR, _EVENT)),
    )
    return Histories(panel, offsets[1:] - 1 - contract.horizon)


def last_features(histories: Histories) -> np.ndarray:
    """Return the features (series, 11) of the last known day of each series, NaN where missing."""
    panel, origins = histories.panel, histories.origins
    # They look back no further than this; the rows of shorter series all come along.
    first = np.maximum(panel.offsets[:-1], origins + 1 - _ROLLING)
    lengths = origins + 1 - first
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    rows = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
    columns = (panel.dates, panel.values, panel.factor, panel.event)
    return compute_features(Panel(panel.ids, offsets, *(c[rows] for c in columns)))[offsets[1:] - 1]


def _series(item: Any, contract: Contract, context: int, place: str) -> _Series:
    if not isinstance(item, dict):
        raise invalid(place.rstrip("."), "expected an object with a history")
    for key in item:
        if key not in ("series_id", "history", "future"):
            raise invalid(f"{place}{key[:60]}", "is not a field of a series")
    name = _name(item.get("series_id", "series"), f"{place}series_id")
    field = f"{place}history"
    if not isinstance(item.get("history"), list) or not item["history"]:
        raise invalid(field, "expected a list of days with date and value")
    history = item["history"]
    if len(history) > DAYS:
        raise invalid(field, f"expected at most {DAYS} days, got {len(history)}")
    columns = _columns(history, (_VALUE,), field)
    days = _days(history, field)
    last = days[-1]
    length = int((last - days[0]).astype(np.int64)) + 1
    if length < contract.context_length:
        raise invalid(
            field,
            f"expected at least {contract.context_length} days from first to last, got {length}",
        )
    # Nothing that is forecast depends on earlier days.
    look_back = max(contract.max_context + _ROLLING, YEAR + _MONTH + 7)
    first = max(days[0], last - (look_back - 1))
    length = int((last - first).astype(np.int64)) + 1
    whole = {name: np.full(length + contract.horizon, np.nan) for name in columns}
    at = (days - first).astype(np.int64)
    for column, values in columns.items():
        whole[column][at[at >= 0]] = values[at >= 0]
    if not np.isfinite(whole[_VALUE][max(0, length - context) : length]).any():
        raise invalid(field, f"expected a known value among the last {context} days, got none")
    _add_future(item.get("future", []), whole, last, length, contract.horizon, f"{place}future")
    return _Series(name, first, length, whole)


def _add_future(
    rows: Any,
    whole: dict[str, np.ndarray],
    last: np.datetime64,
    length: int,
    horizon: int,
    field: str,
) -> None:
    """Write what is known of the days after the history into its columns."""
    if not isinstance(rows, list):
        raise invalid(field, "expected a list of days with date and what is known of them")
    if not rows:
        return
    if len(rows) > horizon:
        raise invalid(field, f"expected at most the {horizon} days after the history")
    columns = _columns(rows, (), field)
    step = (_days(rows, field) - last).astype(np.int64)
    outside = np.flatnonzero((step < 1) | (step > horizon))
    if len(outside):
        raise invalid(
            f"{field}[{outside[0]}].date",
            f"expected a day from {last + 1} to {last + horizon}, the {horizon} after the history",
        )
    for name in (_FACTOR, _EVENT):
        whole[name][length - 1 + step] = columns[name]


def _name(name: Any, field: str) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise invalid(field, "expected a text of 1 to 200 characters")
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise invalid(field, "expected no control characters")
    return name


def _columns(rows: list[Any], needed: tuple[str, ...], field: str) -> dict[str, np.ndarray]:
    """Return the number columns of rows, NaN where null or left out."""
    names = (*needed, _FACTOR, _EVENT)
    allowed = {"date", *names}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"{field}[{i}]", "expected an object")
        if not row.keys() <= allowed:
            extra = next(key for key in row if key not in allowed)
            raise invalid(f"{field}[{i}].{extra[:60]}", f"is not one of {sorted(allowed)}")
        for name in ("date", *needed):
            if name not in row:
                raise invalid(f"{field}[{i}].{name}", "is missing")
    return {name: _numbers([row.get(name) for row in rows], name, field) for name in names}


def _numbers(cells: list[Any], name: str, field: str) -> np.ndarray:
    if not set(map(type, cells)) <= _NUMBERS | {_MISSING}:
        i = next(i for i, c in enumerate(cells) if type(c) not in _NUMBERS | {_MISSING})
        kind = "a boolean" if isinstance(cells[i], bool) else type(cells[i]).__name__
        raise invalid(f"{field}[{i}].{name}", f"expected a number or null, got {kind}")
    try:
        column = np.array(cells, dtype=np.float64)
    except OverflowError:
        column = np.array([np.nan if c is None else _float(c) for c in cells])
    bad = np.isinf(column)
    limits = "a finite number"
    if name == _EVENT:
        bad, limits = bad | (column < 0) | (column > 1), "a number from 0 to 1"
    if bad.any():
        raise invalid(f"{field}[{np.flatnonzero(bad)[0]}].{name}", f"expected {limits}")
    return column


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf


def _days(rows: list[dict[str, Any]], field: str) -> np.ndarray:
    """Return the dates (rows,) of rows as datetime64[D], each later than the one before."""
    written = [row["date"] for row in rows]
    try:
        days = np.array(list(map(_day, written)), dtype="datetime64[D]")
    except (ValueError, TypeError):
        i = next(i for i, text in enumerate(written) if not _is_day(text))
        raise invalid(f"{field}[{i}].date", "expected an ISO day such as 2026-01-31") from None
    back = np.flatnonzero(np.diff(days).astype(np.int64) <= 0)
    if len(back):
        i = int(back[0]) + 1
        again = "is there twice" if days[i] == days[i - 1] else f"comes after {days[i - 1]}"
        raise invalid(f"{field}[{i}].date", f"{days[i]} {again}; expected the oldest day first")
    return days


def _day(text: Any) -> str:
    # Only this form: NumPy also reads months, times and NaT.
    if not isinstance(text, str) or len(text) != 10:
        raise ValueError
    if text[4] != "-" or text[7] != "-" or not text.isascii():
        raise ValueError
    if not (text[:4] + text[5:7] + text[8:]).isdigit() or not "0001" <= text < "9900":
        raise ValueError
    return text


def _is_day(text: Any) -> bool:
    try:
        return not np.isnat(np.datetime64(_day(text), "D"))
    except ValueError:
        return False
