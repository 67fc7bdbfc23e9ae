"""Read the rows of a `/predict` body as one array, checked as `FeatureRow` would check them.

Sixty pydantic models take longer than the forecast. msgspec decodes and checks the body in a
fraction of that; a body it refuses is looked at again, slowly, to name every field that is wrong.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np

from lib.features import FEATURES
from serving.http import RequestError, decode_json, invalid

_ERRORS = 20  # that one answer names
_CALENDAR = tuple(name for name in FEATURES if name.endswith(("_sin", "_cos")))
# Lowest and highest value of a feature; what is not named here may be any finite number.
_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_CALENDAR, (-1, 1)),
    "desvio_movel_7": (0, np.inf),
    "evento_especial": (0, 1),
}


def _type_of(name: str) -> Any:
    low, high = _LIMITS.get(name, (-np.inf, np.inf))
    limits = msgspec.Meta(
        ge=low if np.isfinite(low) else None, le=high if np.isfinite(high) else None
    )
    number: Any = Annotated[float, limits]
    return number if name in _CALENDAR else number | None


_Row: Any = msgspec.defstruct(
    "_Row", [(name, _type_of(name)) for name in FEATURES], forbid_unknown_fields=True, gc=False
)
_Body: Any = msgspec.defstruct("_Body", [("sequence", list[_Row])], forbid_unknown_fields=True)
_DECODER = msgspec.json.Decoder(_Body)


def read_sequence(body: bytes, length: int) -> np.ndarray:
    """Read the window of a `/predict` body.

    Args:
        body: as it was sent.
        length: rows that the model wants.

    Returns:
        (length, 11) float64, NaN where null.

    Raises:
        RequestError: 400 for bad JSON, 422 naming the field for anything else.
    """
    try:
        rows = _DECODER.decode(body).sequence
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        rows = []  # read again below, by what can say why
    # As many quotation marks as the keys need: so no key is there twice.
    if len(rows) != length or _count_quotation_marks(body) != 2 * (1 + length * len(FEATURES)):
        sent = decode_json(body)
        _check(sent, length)
        cells = [row[name] for row in sent["sequence"] for name in FEATURES]
    else:
        cells = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
    return np.array(cells, dtype=np.float64).reshape(length, len(FEATURES))


def _count_quotation_marks(body: bytes) -> int:
    """Count them; `bytes.count` takes three times as long where there are so many."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord('"')))


def _check(sent: Any, length: int) -> None:
    """Raise RequestError (422) for what is wrong with a body, field by field."""
    if not isinstance(sent, dict):
        raise invalid("", "expected a JSON object with the key 'sequence'")
    errors = [(str(name), "is not a field of this call") for name in sent if name != "sequence"]
    if "sequence" not in sent:
        errors.append(("sequence", "is missing"))
    _raise(errors)
    rows = sent["sequence"]
    if not isinstance(rows, list):
        raise invalid("sequence", f"expected a list of {length} objects, one a day")
    if len(rows) != length:
        raise invalid("sequence", f"expected {length} rows, got {len(rows)}")
    for i, row in enumerate(rows):
        errors += _row_errors(row, f"sequence[{i}]")
        if len(errors) >= _ERRORS:
            break
    _raise(errors)


def _row_errors(row: Any, place: str) -> list[tuple[str, str]]:
    if not isinstance(row, dict):
        return [(place, "expected an object with the eleven features")]
    errors = []
    for name in FEATURES:
        fault = _cell_fault(row[name], name) if name in row else "is missing"
        if fault:
            errors.append((f"{place}.{name}", fault))
    extra = [name for name in row if name not in FEATURES]
    return errors + [
        (f"{place}.{name[:60]}", "is not one of the eleven features") for name in extra
    ]


def _cell_fault(cell: Any, name: str) -> str | None:
    """Return what is wrong with a value of a feature, None where nothing is."""
    null = "" if name in _CALENDAR else " or null"
    if cell is None:
        return None if null else "expected a number, got null"
    if type(cell) not in (float, int):
        kinds = {str: "a string", bool: "a boolean", list: "a list", dict: "an object"}
        return f"expected a number{null}, got {kinds.get(type(cell), 'something else')}"
    try:
        number = float(cell)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        return "expected a finite number, got one too large for 64 bits"
    low, high = _LIMITS.get(name, (-np.inf, np.inf))
    if not low <= number <= high:
        limits = f"at least {low:g}" + (f" and at most {high:g}" if high < np.inf else "")
        return f"expected {limits}, got {number:g}"
    return None


def _raise(errors: list[tuple[str, str]]) -> None:
    if errors:
        field, text = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise RequestError(422, f"{field}: {text}{more}", errors)
