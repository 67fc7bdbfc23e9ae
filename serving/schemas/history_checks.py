"""Look at histories as the readers of files do: planned days, closed days, frequency, errors."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.data import (
    CLOSED_LOOK_BACK,
    WEEKDAYS,
    Panel,
    closed_weekdays,
    find_frequency,
)
from lib.inference import COLD_START, Contract, describe_young
from serving.http import invalid
from serving.schemas.columns import EVENT, FACTOR, VALUE
from serving.schemas.plausibility import FieldWarning, find_errors
from serving.schemas.sent_covariates import BORROWS

_BLANK = 14  # days without a value before the forecast: it hangs on few known ones, or on a mistake
_OPEN = 0.9  # share of known days above which no weekday can be closed


def count_history(columns: Mapping[str, np.ndarray], known: Sequence[str] = ()) -> int:
    """Return how many rows are history; the rest are planned, by the rule of `lib.data`.

    Where a row behind the last known value knows a covariate, the history ends with that value.

    Args:
        columns: value, factor, event and covariates, each (rows,), NaN where missing.
        known: names of the covariates that may be planned.
    """
    observed = np.flatnonzero(np.isfinite(columns[VALUE]))
    planned = [np.isfinite(columns[name]) for name in (FACTOR, EVENT, *known)]
    covariate = np.flatnonzero(np.logical_or.reduce(planned))
    if len(observed) and len(covariate) and covariate[-1] > observed[-1]:
        return int(observed[-1]) + 1
    return len(columns[VALUE])


def check_frequency(days: np.ndarray, field: str) -> None:
    """Raise RequestError (422) for weekly, monthly or other regular data that is not daily.

    Args:
        days: (n,) datetime64[D] with a known value, rising.
        field: of the history.
    """
    name = find_frequency(days.astype(np.int64))
    if name != "daily":
        raise invalid(
            field,
            f"{name} data found: {len(days)} values from {days[0]}, {days[1]} to {days[-1]}; "
            "expected a value a day. Send the daily values that it was made from",
        )


def find_closed(
    values: np.ndarray, first: np.datetime64, field: str
) -> tuple[np.ndarray, list[FieldWarning]]:
    """Return the weekdays (7,) on which a series is closed, Monday first, and a warning of them.

    Args:
        values: (days,), NaN where missing.
        first: day of the first value.
        field: of the history.
    """
    if np.isfinite(values[-CLOSED_LOOK_BACK:]).mean() > _OPEN:
        return np.zeros(7, dtype=bool), []
    unknown = np.full(len(values), np.nan)
    dates = first + np.arange(len(values))
    panel = Panel(("series",), np.array([0, len(values)]), dates, values, unknown, unknown)
    closed = closed_weekdays(panel)[0]
    if not closed.any():
        return closed, []
    names = " and ".join(WEEKDAYS[day] for day in np.flatnonzero(closed))
    return closed, [FieldWarning(field, f"closed on {names}: 0 is forecast there")]


def clear_errors(values: np.ndarray, first: np.datetime64, field: str) -> list[FieldWarning]:
    """Make single values missing that are a thousand times as large as all others.

    Args:
        values: (days,), NaN where missing; changed in place.
        first: day of the first value.
        field: of the history.
    """
    errors = find_errors(values)
    warnings = [
        FieldWarning(
            field,
            f"{values[i]:g} on {first + i} is more than a thousand times as large as the other "
            "values: it is taken for an error, and the day for missing",
        )
        for i in errors
    ]
    values[errors] = np.nan
    return warnings


def warn_of_young(values: np.ndarray, contract: Contract, field: str) -> list[FieldWarning]:
    """Say what the forecast of a series rests on that has just begun.

    Args:
        values: (days,) of the history, NaN where missing; one at least is known.
        contract: of the model.
        field: of the history.
    """
    known = np.flatnonzero(np.isfinite(values))
    borrowed = COLD_START in contract.sha256 or contract.settings.get(BORROWS, False)
    text = describe_young(len(known), len(values) - int(known[0]), borrowed=borrowed)
    return [FieldWarning(field, text)] if text else []


def warn_of_blank_end(values: np.ndarray, field: str) -> list[FieldWarning]:
    """Warn of a series that ends with days without a value, such as days to forecast.

    Args:
        values: (days,) of the history, NaN where missing; one at least is known.
        field: of the history.
    """
    blank = len(values) - 1 - int(np.flatnonzero(np.isfinite(values))[-1])
    if blank < _BLANK:
        return []
    detail = (
        f"the last {blank} days have no value, and the forecast begins after them; leave them out "
        "to have them forecast"
    )
    return [FieldWarning(field, detail)]


def same_name(name: str) -> str:
    """Return what is equal for names that a reader cannot tell apart."""
    return unicodedata.normalize("NFC", name.strip())


def warn_of_ended(last: np.ndarray, horizon: int, place: str) -> dict[int, FieldWarning]:
    """Warn of series, by number, whose history ends more than a horizon before the latest.

    Args:
        last: (series,) datetime64[D], the last day of each history.
        horizon: days ahead.
        place: path of a series with `{}` for its number.
    """
    latest = last.max()
    return {
        int(i): FieldWarning(
            f"{place.format(i)}history",
            f"ends on {last[i]}, {(latest - last[i]).astype(int)} days before the latest of this "
            "call: it is forecast from there",
        )
        for i in np.flatnonzero((latest - last).astype(np.int64) > horizon)
    }


def read_name(name: Any, field: str) -> str:
    """Return the name of a series. Raises RequestError (422) for what is none."""
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise invalid(field, "expected a text of 1 to 200 characters")
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise invalid(field, "expected no control characters")
    return name
