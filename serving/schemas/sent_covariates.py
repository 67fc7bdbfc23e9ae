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
import pandas as pd

from lib.calibration import CALIBRATION_DAYS
from lib.data import find_kind
from lib.features import YOUNG_DAYS
from lib.inference import Contract
from serving.http import decode_json, invalid
from serving.schemas.columns import EVENT, FACTOR, VALUE
from serving.schemas.covariates import as_text
from serving.schemas.series_body import check_series_size, split_body

COVARIATES = 50  # of one call, by name
# Keys of the settings: days of a history that are looked at, and whether young series borrow.
HISTORY_DAYS, BORROWS = "history_days", "borrows"
_CELLS = 1_000  # distinct ones of a covariate that tell its kind; of a category, that are known
_REPEATS = 5  # of one cell that are looked at
_LARGEST = 1e300  # a larger number is refused by the reader
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
# Fields of a row or a series; where they are out of place, the reader refuses them.
_OWN = {"date", VALUE, FACTOR, EVENT, "series_id", "history", "future", "static"}


@dataclass
class _Sent:
    """What is seen of one covariate: distinct cells, and how often."""

    is_planned: bool = False
    is_text: bool = False
    is_flag: bool = False
    cells: Counter[Any] = field(default_factory=Counter)

    def add(self, cell: Any) -> None:
        if isinstance(cell, str):
            self.is_text = True
        elif isinstance(cell, bool):
            self.is_flag = True
        elif not isinstance(cell, (int, float)) or abs(cell) > _LARGEST:
            return
        if len(self.cells) < _CELLS or cell in self.cells:
            self.cells[cell] += 1


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
    series: Iterable[Any] = [fields]
    if parts is not None:
        series = (_decode(part, f"series[{i}]") for i, part in enumerate(parts))
    elif isinstance(fields.get("series"), list):
        series = fields["series"]
    return describe_series(series, contract, fields.get("scenarios"))


def describe_series(series: Iterable[Any], contract: Contract, scenarios: Any = None) -> Contract:
    """Return the contract of the pretrained network for series, decoded and not checked.

    A covariate is known ahead if any day ahead knows it. What is wrong with the rows is for the
    reader to refuse, who knows these names then.

    Args:
        series: objects with `history`, and perhaps `future` and `static`.
        contract: of the network.
        scenarios: of the call; what they plan is known ahead.

    Raises:
        RequestError: 422, for more than COVARIATES.
    """
    daily: dict[str, _Sent] = {}
    static: dict[str, _Sent] = {}
    count = longest = 0
    for one in series:
        if not isinstance(one, dict):
            continue
        history = _rows_of(one.get("history"))
        last = max((i for i, row in enumerate(history) if row.get(VALUE) is not None), default=-1)
        count, longest = count + 1, max(longest, len(history))
        _add_rows(daily, history[: last + 1], is_planned=False)
        _add_rows(daily, history[last + 1 :], is_planned=True)
        _add_rows(daily, _rows_of(one.get("future")), is_planned=True)
        if isinstance(one.get("static"), dict):
            for name, cell in one["static"].items():
                _take(static, name).add(cell)
    for rows in _planned(scenarios):
        _add_rows(daily, _rows_of(rows), is_planned=True)
    if both := daily.keys() & static.keys():
        raise invalid(f"static.{min(both)}", "is also in the rows of a day; expected one of both")
    found = [_describe(n, s, "known" if s.is_planned else "past") for n, s in daily.items()]
    found += [_describe(name, sent, "static") for name, sent in static.items()]
    if len(found) > COVARIATES:
        names = ", ".join(repr(item["name"]) for item in found[:3])
        raise invalid("", f"expected at most {COVARIATES} covariates, got {len(found)}: {names}, …")
    days = CALIBRATION_DAYS + contract.max_context
    settings = contract.settings | {"covariates": found, HISTORY_DAYS: days}
    borrows = count > 1 and longest >= YOUNG_DAYS
    return replace(contract, settings=settings | {BORROWS: borrows})


def _decode(part: msgspec.Raw, place: str) -> Any:
    body = bytes(part)
    check_series_size(body, place, COVARIATES)
    return decode_json(body)


def _rows_of(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _planned(scenarios: Any) -> Iterator[Any]:
    """Yield the rows of scenarios, which may be by series."""
    for planned in scenarios.values() if isinstance(scenarios, dict) else ():
        yield from planned.values() if isinstance(planned, dict) else [planned]


def _add_rows(found: dict[str, _Sent], rows: list[dict[str, Any]], *, is_planned: bool) -> None:
    for row in rows:
        for name, cell in row.items():
            if name in _OWN:
                continue
            sent = _take(found, name)
            sent.is_planned |= is_planned and cell is not None
            sent.add(cell)


def _take(found: dict[str, _Sent], name: str) -> _Sent:
    if name not in found:
        if not _NAME.fullmatch(name):
            raise invalid(name[:60], "expected a name of 1 to 200 characters that can be printed")
        found[name] = _Sent()
    return found[name]


def _describe(name: str, sent: _Sent, role: str) -> dict[str, Any]:
    """Return a covariate as a contract describes it."""
    if sent.is_text:
        kind = "category"
    elif sent.is_flag:
        kind = "event"
    else:
        seen = [cell for cell, count in sent.cells.items() for _ in range(min(count, _REPEATS))]
        kind = find_kind(pd.Series(seen, dtype="float64")) if seen else "number"
    labels = {as_text(cell) for cell in sent.cells} - {""} if kind == "category" else ()
    described = {"name": name, "role": role, "kind": kind, "calendar": ""}
    return described | {"labels": sorted(labels)}
