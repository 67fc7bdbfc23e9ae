"""Read the histories of a `/forecast` body as a panel, checked as `SeriesHistory` does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lib.data import Covariate, Panel, align_covariates, is_closed
from lib.features import YEAR, compute_features
from lib.inference import Contract
from serving.http import invalid
from serving.schemas.columns import EVENT, FACTOR, VALUE, read_columns, read_days
from serving.schemas.covariates import CovariateFields
from serving.schemas.forecasts import DAYS, ROWS
from serving.schemas.history_checks import (
    check_frequency,
    clear_errors,
    count_history,
    find_closed,
    read_name,
    same_name,
    warn_of_blank_end,
    warn_of_ended,
    warn_of_young,
)
from serving.schemas.plausibility import FieldWarning, check_factor, check_values
from serving.schemas.sent_covariates import HISTORY_DAYS

_ROLLING = 30  # days that the features of a day look back on
_MONTH = 28  # days that last year's level looks back on


@dataclass(frozen=True)
class Histories:
    """Series as one panel, each followed by its horizon.

    Attributes:
        panel: the series and the days to forecast, whose values are NaN.
        origins: (series,) row of the last known day of each series.
        closed: (series, 7) weekdays on which a series is closed, Monday first.
    """

    panel: Panel
    origins: np.ndarray
    closed: np.ndarray

    def closed_ahead(self, horizon: int) -> np.ndarray:
        """Return which of the days to forecast are closed. (series, horizon) bool."""
        days = self.panel.dates[self.origins][:, None] + np.arange(1, horizon + 1)
        return is_closed(self.closed, np.arange(len(days))[:, None], days)


@dataclass(frozen=True)
class Series:
    """One checked series: its last days, each column followed by the days to forecast.

    Attributes:
        name: of the series.
        first: its first day.
        days: from there up to the last of the history.
        columns: value, factor, event and the covariates of the model, each (days + horizon,), NaN
            where missing.
        static: the static covariates of the model.
        last_day: the other ones on the last day, as they were sent.
        recent: those of the last days, with factor and event, as `CovariateFields.read_recent`
            returns them.
        largest: absolute value of the days that the model looks at.
        closed: (7,) weekdays on which it is closed, Monday first.
        warnings: of its numbers.
    """

    name: str
    first: np.datetime64
    days: int
    columns: dict[str, np.ndarray]
    largest: float
    closed: np.ndarray
    warnings: tuple[FieldWarning, ...] = ()
    static: Mapping[str, float] = field(default_factory=dict)
    last_day: Mapping[str, float | str | None] = field(default_factory=dict)
    recent: Mapping[str, list[float | str | None]] = field(default_factory=dict)


def read_histories(
    items: list[dict[str, Any]], contract: Contract, context: int, place: str
) -> Histories:
    """Read and check series as one panel, as `read_series` and `join_series` do."""
    return join_series(read_series(items, contract, context, place), contract)


def read_series(items: Iterable[Any], contract: Contract, context: int, place: str) -> list[Series]:
    """Read and check series one by one; of each only the days that its forecast depends on stay.

    Args:
        items: objects with `history`, and perhaps `series_id` and `future`.
        contract: of the model that forecasts.
        context: days that the model looks at; one of them at least must be known.
        place: path of a series with `{}` for its number, "" for a body that is one.

    Returns:
        The series, in the order of the items.

    Raises:
        RequestError: 422, naming the field.
    """
    read: list[Series] = []
    names: set[str] = set()
    covariates = CovariateFields.of(contract)
    rows = 0
    for i, item in enumerate(items):
        sent = item.get("history") if isinstance(item, dict) else None
        rows += len(sent) if isinstance(sent, list) else 0
        if rows > ROWS:
            raise invalid("series", f"expected at most {ROWS} days in one call, got more")
        series = _series(item, contract, covariates, context, place.format(i))
        if (name := same_name(series.name)) in names:
            raise invalid(f"{place.format(i)}series_id", "is the name of an earlier series as well")
        names.add(name)
        read.append(series)
    return _warn_of_ended(read, contract.horizon, place)


def _warn_of_ended(read: list[Series], horizon: int, place: str) -> list[Series]:
    """Return the series, with a warning where one ended long before the latest."""
    if len(read) < 2:
        return read
    last = np.array([series.first + series.days - 1 for series in read])
    for i, warning in warn_of_ended(last, horizon, place).items():
        read[i] = replace(read[i], warnings=(*read[i].warnings, warning))
    return read


def join_series(read: Sequence[Series], contract: Contract) -> Histories:
    """Join series into one panel, in their order, with the covariates of the model in its order."""
    lengths = [len(series.columns[VALUE]) for series in read]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    panel = Panel(
        tuple(series.name for series in read),
        offsets,
        np.concatenate([s.first + np.arange(n) for s, n in zip(read, lengths, strict=True)]),
        values=_join(read, VALUE),
        factor=_join(read, FACTOR),
        event=_join(read, EVENT),
        covariates=_join_covariates(read, CovariateFields.of(contract)),
    )
    if described := contract.settings.get("covariates"):
        panel = align_covariates(panel, described)
    origins = [start + s.days - 1 for start, s in zip(offsets[:-1], read, strict=True)]
    return Histories(
        panel, np.array(origins, dtype=np.int64), np.stack([series.closed for series in read])
    )


def _join_covariates(read: Sequence[Series], covariates: CovariateFields) -> tuple[Covariate, ...]:
    """Return the covariates of series, one after the other."""
    joined = []
    for name, item in (covariates.rows | covariates.static).items():
        if name in covariates.static:
            values = [np.full(len(s.columns[VALUE]), s.static.get(name, np.nan)) for s in read]
            column = np.concatenate(values)
        else:
            column = _join(read, name)
        joined.append(Covariate(name, item["role"], item["kind"], column, tuple(item["labels"])))
    return tuple(joined)


def _join(read: Sequence[Series], column: str) -> np.ndarray:
    return np.concatenate([series.columns[column] for series in read])


def last_features(histories: Histories) -> np.ndarray:
    """Return the features (series, 11) of the last known day of each series, NaN where missing."""
    panel, origins = histories.panel, histories.origins
    # They look back no further than this; the rows of shorter series all come along.
    first = np.maximum(panel.offsets[:-1], origins + 1 - _ROLLING)
    lengths = origins + 1 - first
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    rows = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
    recent = Panel(
        panel.ids,
        offsets,
        panel.dates[rows],
        panel.values[rows],
        panel.factor[rows],
        panel.event[rows],
    )
    return compute_features(recent)[offsets[1:] - 1]


def _series(
    item: Any, contract: Contract, covariates: CovariateFields, context: int, place: str
) -> Series:
    if not isinstance(item, dict):
        raise invalid(place.rstrip("."), "expected an object with a history")
    for key in item:
        if key not in ("series_id", "history", "future", "static"):
            raise invalid(f"{place}{key[:60]}", "is not a field of a series")
    name = read_name(item.get("series_id", "series"), f"{place}series_id")
    field = f"{place}history"
    if not isinstance(item.get("history"), list) or not item["history"]:
        raise invalid(field, "expected a list of days with date and value")
    history = item["history"]
    if len(history) > DAYS:
        raise invalid(field, f"expected at most {DAYS} days, got {len(history)}")
    columns = read_columns(history, (VALUE,), field, covariates, list(covariates.rows))
    more, warnings = covariates.read_rows(history, list(covariates.rows), field)
    columns |= more
    static, of_static = covariates.read_static(item.get("static"), f"{place}static")
    warnings += of_static
    days = read_days(history, field)
    known = count_history(columns, covariates.known)
    last_day = covariates.read_day(history[known - 1])
    planned = {name: column[known:] for name, column in columns.items()}, days[known:]
    columns, days = {name: column[:known] for name, column in columns.items()}, days[:known]
    numbers = {name: columns[name] for name in (FACTOR, EVENT)}
    last_days = covariates.read_recent(history[:known], numbers, days, contract.horizon)
    check_frequency(days[np.isfinite(columns[VALUE])], field)
    last = days[-1]
    length = int((last - days[0]).astype(np.int64)) + 1
    # Nothing that is forecast depends on earlier days.
    look_back = max(contract.max_context + _ROLLING, YEAR + _MONTH + 7)
    look_back = contract.settings.get(HISTORY_DAYS, look_back)
    first = max(days[0], last - (look_back - 1))
    length = int((last - first).astype(np.int64)) + 1
    whole = {name: np.full(length + contract.horizon, np.nan) for name in columns}
    at = (days - first).astype(np.int64)
    for column, values in columns.items():
        whole[column][at[at >= 0]] = values[at >= 0]
    warnings += clear_errors(whole[VALUE][:length], first, field)
    recent = slice(max(0, length - context), length)
    if not np.isfinite(whole[VALUE][recent]).any():
        raise invalid(field, f"expected a known value among the last {context} days, got none")
    ahead = (FACTOR, EVENT, *covariates.known)
    _add_planned(*planned, ahead, whole, last, length, contract.horizon)
    future = _read_future(item.get("future", []), covariates, contract.horizon, f"{place}future")
    if future is not None:
        rows, planned_days, of_future = future
        _add_future(
            rows, planned_days, ahead, whole, last, length, contract.horizon, f"{place}future"
        )
        warnings += of_future
    warnings += check_values(whole[VALUE][recent], contract, field)
    warnings += warn_of_young(whole[VALUE][:length], contract, field)
    warnings += warn_of_blank_end(whole[VALUE][:length], field)
    warnings += check_factor(whole[FACTOR][recent], contract, f"{field}.{FACTOR}")
    warnings += check_factor(whole[FACTOR][length:], contract, f"{place}future.{FACTOR}")
    largest = float(np.nanmax(np.abs(whole[VALUE][recent])))
    closed, of_closed = find_closed(whole[VALUE][:length], first, field)
    warnings += of_closed
    return Series(
        name, first, length, whole, largest, closed, tuple(warnings), static, last_day, last_days
    )


def _add_planned(
    columns: dict[str, np.ndarray],
    days: np.ndarray,
    names: Sequence[str],
    whole: dict[str, np.ndarray],
    last: np.datetime64,
    length: int,
    horizon: int,
) -> None:
    """Write planned rows of the history into the days after it; those behind these are not used."""
    step = (days - last).astype(np.int64)
    near = step <= horizon
    for name in names:
        whole[name][length - 1 + step[near]] = columns[name][near]


def _read_future(
    rows: Any, covariates: CovariateFields, horizon: int, field: str
) -> tuple[dict[str, np.ndarray], np.ndarray, list[FieldWarning]] | None:
    """Return what is known of days ahead, these days, and warnings; None without rows."""
    if not isinstance(rows, list):
        raise invalid(field, "expected a list of days with date and what is known of them")
    if not rows:
        return None
    if len(rows) > horizon:
        raise invalid(field, f"expected at most the {horizon} days after the history")
    columns = read_columns(rows, (), field, covariates, covariates.known)
    more, warnings = covariates.read_rows(rows, covariates.known, field)
    return columns | more, read_days(rows, field), warnings


def _add_future(
    columns: dict[str, np.ndarray],
    days: np.ndarray,
    names: Sequence[str],
    whole: dict[str, np.ndarray],
    last: np.datetime64,
    length: int,
    horizon: int,
    field: str,
) -> None:
    """Write what is known of the days after the history into its columns."""
    step = (days - last).astype(np.int64)
    outside = np.flatnonzero((step < 1) | (step > horizon))
    if len(outside):
        raise invalid(
            f"{field}[{outside[0]}].date",
            f"expected a day from {last + 1} to {last + horizon}, the {horizon} after the history",
        )
    for name in names:
        at = length - 1 + step
        whole[name][at] = np.where(np.isfinite(columns[name]), columns[name], whole[name][at])
