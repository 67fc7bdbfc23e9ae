"""Find the covariates of a call before anything was trained: its rows say what there is.

A trained model takes the covariates that it has learned. The pretrained network is calibrated on
what a call sends, so it takes whatever stands beside date and value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lib.calibration import CALIBRATION_DAYS
from lib.data import find_kind
from lib.features import YOUNG_DAYS
from lib.inference import Contract
from serving.http import decode_json, invalid
from serving.schemas.columns import EVENT, FACTOR, VALUE
from serving.schemas.covariates import BLANK, as_text
from serving.schemas.series_body import check_series_size, split_body

COVARIATES = 50  # of one call, by name
# Keys of the settings: days of a history that are looked at, and whether young series borrow.
HISTORY_DAYS, BORROWS = "history_days", "borrows"
PLAN = 7  # rows behind the last value from which they are a plan; fewer are days that come late
_TEXT = 0.1  # share of text cells above which a covariate is a category; below, they are mistakes
_BLANK = 0.5  # share of blank days above which blank means none, as in a file
_CELLS = 1_000  # distinct ones of a covariate that tell its kind; of a category, that are known
_REPEATS = 5  # of one cell that are looked at
_LARGEST = 1e300  # a larger number is refused by the reader
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
# Fields of a row or a series; where they are out of place, the reader refuses them.
_OWN = {"date", VALUE, FACTOR, EVENT, "series_id", "history", "future", "static"}


@dataclass
class _Sent:
    """What is seen of one covariate.

    Attributes:
        is_planned: whether a day ahead knows it.
        is_flag: whether a cell is true or false.
        count: cells that know it.
        texts: those of them that are text.
        known: days with a value that know it.
        blanks: days with a value that do not, from the first one of a series that does to the last.
        latest: number of the last such day in the series that is read.
        cells: distinct ones, and how often each is there.
    """

    is_planned: bool = False
    is_flag: bool = False
    count: int = 0
    texts: int = 0
    known: int = 0
    blanks: int = 0
    latest: int = -1
    cells: Counter[Any] = field(default_factory=Counter)

    def add(self, cell: Any) -> bool:
        """Look at a cell. Returns whether it knows the covariate."""
        if isinstance(cell, str):
            if not cell.strip():
                return False
            self.texts += 1
        elif isinstance(cell, bool):
            self.is_flag = True
        elif not isinstance(cell, (int, float)) or abs(cell) > _LARGEST:
            return cell is not None
        self.count += 1
        if len(self.cells) < _CELLS or cell in self.cells:
            self.cells[cell] += 1
        return True

    def add_day(self, cell: Any, number: int) -> None:
        """Look at the cell of a day with a value, by the number of this day in its series."""
        if self.add(cell):
            self.known += 1
            self.blanks += number - self.latest - 1 if self.latest >= 0 else 0
            self.latest = number

    @property
    def blank_is_none(self) -> bool:
        """Whether most days are blank, so that blank has to mean something."""
        return self.blanks > _BLANK * (self.blanks + self.known)


def describe_sent(body: bytes, contract: Contract) -> Contract:
    """Return the contract of the pretrained network for a `/forecast` body.

    Args:
        body: as it was sent.
        contract: of the network.

    Raises:
        RequestError: 400 for what is not strict JSON, 413 for more rows than a series may have, 422
            for more than COVARIATES.
    """
    fields, parts = split_body(body, COVARIATES)
    scenarios, listed = fields.get("scenarios"), fields.get("series")
    if parts is not None:
        decoded = (_decode(part, f"series[{i}]") for i, part in enumerate(parts))
        return describe_series(decoded, contract, scenarios, is_list=True)
    if isinstance(listed, list):
        return describe_series(listed, contract, scenarios, is_list=True)
    return describe_series([fields], contract, scenarios)


def describe_series(
    series: Iterable[Any], contract: Contract, scenarios: Any = None, *, is_list: bool = False
) -> Contract:
    """Return the contract of the pretrained network for series, decoded and not checked.

    A covariate is known ahead if any day ahead knows it: in `future`, in a scenario, or in PLAN
    rows or more behind the last value. What is wrong with the rows is for the reader to refuse, who
    knows these names then.

    Args:
        series: objects with `history`, and perhaps `future` and `static`.
        contract: of the network.
        scenarios: of the call; what they plan is known ahead.
        is_list: whether they are the list `series` of a body, for what is refused.

    Raises:
        RequestError: 422, for more than COVARIATES.
    """
    daily: dict[str, _Sent] = {}
    static: dict[str, _Sent] = {}
    days = CALIBRATION_DAYS + contract.max_context
    count = longest = 0
    for i, one in enumerate(series):
        if not isinstance(one, dict):
            continue
        place = f"series[{i}]." if is_list else ""
        history = _within(_rows_of(one.get("history")), days)
        count, longest = count + 1, max(longest, len(history))
        _add_history(daily, history, f"{place}history")
        _add_planned(daily, _rows_of(one.get("future")), f"{place}future")
        sent = one.get("static")
        for name, cell in sent.items() if isinstance(sent, dict) else ():
            if name not in _OWN:
                if name in daily:
                    detail = "is also in the rows of a day; expected one of both"
                    raise invalid(f"{place}static.{name[:60]}", detail)
                _take(static, name, f"{place}static").add(cell)
    for name, rows in _plans_of(scenarios):
        _add_planned(daily, _rows_of(rows), f"scenarios.{name[:60]}")
    if both := daily.keys() & static.keys():
        raise invalid(min(both)[:60], "is a static covariate, and in the rows of a day as well")
    found = [_describe(n, s, "known" if s.is_planned else "past") for n, s in daily.items()]
    found += [_describe(name, sent, "static") for name, sent in static.items()]
    if len(found) > COVARIATES:
        detail = f"{len(daily)} in the rows of days and {len(static)} in `static`"
        raise invalid("", f"expected at most {COVARIATES} covariates, got {detail}")
    settings = contract.settings | {"covariates": found, HISTORY_DAYS: days}
    borrows = count > 1 and longest >= YOUNG_DAYS
    return replace(contract, settings=settings | {BORROWS: borrows})


def _decode(part: msgspec.Raw, place: str) -> Any:
    body = bytes(part)
    check_series_size(body, place, COVARIATES)
    return decode_json(body)


def _rows_of(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _within(rows: list[dict[str, Any]], days: int) -> list[dict[str, Any]]:
    """Return the rows of the last days, up to the last value, and those behind it."""
    last = next((row for row in reversed(rows) if row.get(VALUE) is not None), {}).get("date")
    try:
        first = str(np.datetime64(last, "D") - (days - 1))
    except (TypeError, ValueError):
        return rows
    return [row for row in rows if str(row.get("date")) >= first]


def _plans_of(scenarios: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names of scenarios and their rows, which may be by series."""
    for name, planned in scenarios.items() if isinstance(scenarios, dict) else ():
        for rows in planned.values() if isinstance(planned, dict) else [planned]:
            yield name, rows


def _add_history(found: dict[str, _Sent], history: list[dict[str, Any]], place: str) -> None:
    last = max((i for i, row in enumerate(history) if row.get(VALUE) is not None), default=-1)
    for sent in found.values():
        sent.latest = -1
    number = 0
    for row in history[: last + 1]:
        has_value = row.get(VALUE) is not None
        for name, cell in row.items():
            if name not in _OWN:
                sent = _take(found, name, place)
                if has_value:
                    sent.add_day(cell, number)
                else:
                    sent.add(cell)
        number += has_value
    behind = history[last + 1 :]
    _add_planned(found, behind, place, is_plan=len(behind) >= PLAN)


def _add_planned(
    found: dict[str, _Sent], rows: list[dict[str, Any]], place: str, *, is_plan: bool = True
) -> None:
    for row in rows:
        for name, cell in row.items():
            if name not in _OWN:
                sent = _take(found, name, place)
                sent.is_planned |= sent.add(cell) and is_plan


def _take(found: dict[str, _Sent], name: str, place: str) -> _Sent:
    if name not in found:
        if not _NAME.fullmatch(name):
            field = f"{place}.{name[:60]}"
            raise invalid(field, "expected a name of 1 to 200 characters that can be printed")
        if len(found) == COVARIATES:
            names = ", ".join(repr(each[:60]) for each in list(found)[:3])
            raise invalid("", f"expected at most {COVARIATES} covariates, got more: {names}, …")
        found[name] = _Sent()
    return found[name]


def _describe(name: str, sent: _Sent, role: str) -> dict[str, Any]:
    """Return a covariate as a contract describes it."""
    if sent.texts > _TEXT * sent.count:
        kind = "category"
    elif sent.is_flag:
        kind = "event"
    else:
        numbers = {cell: n for cell, n in sent.cells.items() if not isinstance(cell, str)}
        seen = [cell for cell, n in numbers.items() for _ in range(min(n, _REPEATS))]
        kind = find_kind(pd.Series(seen, dtype="float64")) if seen else "number"
    labels: set[str] = set()
    if kind == "category":
        labels = {as_text(cell) for cell in sent.cells}
        labels |= {""} if sent.blank_is_none else set()
    described = {"name": name, "role": role, "kind": kind, "calendar": "", "labels": sorted(labels)}
    if kind == "event" and sent.blank_is_none and not {0} & sent.cells.keys():
        described[BLANK] = 0.0
    return described
