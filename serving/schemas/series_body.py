"""Decode the body of a `/forecast` series by series, so that memory follows one and not all.

msgspec decodes the rows of a series into structs, which take a quarter of the memory of dicts. A
series that it refuses is decoded again, strictly, and `read_series` then names what is wrong.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from lib.features import MAX_HORIZON
from serving.http import RequestError, count_keys, decode_json
from serving.schemas.covariates import covariate_attribute
from serving.schemas.forecasts import DAYS

_UNSET = msgspec.UNSET
_Number = float | None
_Cell = float | bool | str | None | msgspec.UnsetType


class HistoryDay(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One row of a history, in the fields of `HistoryRow`; not checked further."""

    date: str
    value: _Number
    fator_externo: _Number | msgspec.UnsetType = _UNSET
    evento_especial: _Number | msgspec.UnsetType = _UNSET


class _Series(msgspec.Struct, forbid_unknown_fields=True):
    history: list[HistoryDay]
    series_id: str | msgspec.UnsetType = _UNSET
    future: list[Any] | msgspec.UnsetType = _UNSET
    static: dict[str, Any] | msgspec.UnsetType = _UNSET


_OPTIONAL = (attrgetter("fator_externo"), attrgetter("evento_especial"))
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
# Of one series, with room for what is refused by its field: a text may hold any of these signs.
_MOST = {b"{": 2 * (DAYS + MAX_HORIZON), b"[": 1_000, b",": 10 * (DAYS + MAX_HORIZON)}
_PER_COVARIATE = {b"{": 0, b"[": 0, b",": 2 * (DAYS + MAX_HORIZON)}


@lru_cache(maxsize=8)
def _series_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder:
    """Return the decoder of a series whose rows may have covariates of these names."""
    if not names:
        return msgspec.json.Decoder(_Series)
    attributes = [covariate_attribute(i) for i in range(len(names))]
    day = msgspec.defstruct(
        "CovariateDay",
        [(attribute, _Cell, _UNSET) for attribute in attributes],
        bases=(HistoryDay,),
        rename=dict(zip(attributes, names, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    series = msgspec.defstruct(
        "CovariateSeries",
        [("history", list[day])],  # ty: ignore[invalid-type-form]
        bases=(_Series,),
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(series)


def split_body(body: bytes, covariates: int = 0) -> tuple[dict[str, Any], list[msgspec.Raw] | None]:
    """Split a body into its fields, and the list `series` into parts that are not decoded yet.

    Args:
        body: as it was sent.
        covariates: number of those that a row may have.

    Returns:
        The fields apart from a list in `series`, decoded; and the parts of that list, None where
        the body has no such list. What is no object comes back as `{"": value}`.

    Raises:
        RequestError: 400 for what is not strict JSON.
    """
    parts: list[msgspec.Raw] | None = None
    try:
        fields = _OBJECT.decode(body)
        if "series" in fields and bytes(memoryview(fields["series"])[:1]) == b"[":
            parts = _LIST.decode(fields.pop("series"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = decode_json(body)  # it says why
        return value if isinstance(value, dict) else {"": value}, None
    keys = len(fields) + (parts is not None)
    inside = sum(bytes(part).count(b":") for part in (*fields.values(), *(parts or ())))
    if body.count(b":") != keys + inside:  # a key is there twice
        return decode_json(body), None
    if "history" in fields:
        check_series_size(bytes(fields["history"]), "history", covariates)
    return {name: decode_json(bytes(raw)) for name, raw in fields.items()}, parts


def decode_series(raw: msgspec.Raw, place: str, covariates: tuple[str, ...] = ()) -> Any:
    """Decode one series of a body: as a dict whose `history` is a list of HistoryDay or of dicts.

    Args:
        raw: the part of the body, as `split_body` returns it.
        place: its path, for what is refused here.
        covariates: names of those that a row may have.

    Raises:
        RequestError: 400 for what is not strict JSON, 413 for more rows than a series may have.
    """
    body = bytes(raw)
    check_series_size(body, place, len(covariates))
    try:
        series = _series_decoder(covariates).decode(body)
        if _keys_of(series) == body.count(b":"):  # no key is there twice, no text holds a colon
            sent = msgspec.structs.asdict(series)
            return {name: value for name, value in sent.items() if value is not _UNSET}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # decoded again below, by what can say why
    return decode_json(body)


def _keys_of(series: _Series) -> int:
    rows = series.history
    keys = 1 + 2 * len(rows)
    further = [attrgetter(name) for name in _covariate_attributes(rows)]
    for cell_of in (*_OPTIONAL, *further):
        keys += len(rows) - list(map(cell_of, rows)).count(_UNSET)
    keys += series.series_id is not _UNSET
    if isinstance(series.future, list):
        keys += 1 + count_keys(series.future)
    if isinstance(series.static, dict):
        keys += 1 + count_keys(series.static)
    return keys


def _covariate_attributes(rows: list[HistoryDay]) -> tuple[str, ...]:
    fields = rows[0].__struct_fields__ if rows else ()
    return tuple(name for name in fields if name not in HistoryDay.__struct_fields__)


def check_series_size(body: bytes, place: str, covariates: int) -> None:
    """Raise RequestError (413) before much more is decoded than a series may have."""
    for sign, most in _MOST.items():
        most += covariates * _PER_COVARIATE[sign]
        if (count := body.count(sign)) > most:
            limits = f"{DAYS} days of history and {MAX_HORIZON} of future"
            detail = f"{count} times {sign.decode()!r} is more than {limits} can have"
            raise RequestError(413, f"{place.rstrip('.')}: {detail}")
