"""The rows of a `/predict` body as one array, checked as `schemas.FeatureRow` would check them.

Sixty pydantic models take longer than the forecast; one array takes a tenth of it. What the array
does not like is looked at again, slowly, to name the field.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from lib.features import FEATURES
from serving.http.problems import RequestError, invalid
from serving.http.strict_json import loads, loads_quick

_CELLS = itemgetter(*FEATURES)
_NUMBERS = {float, int}
_MISSING = type(None)
_NULLABLE = np.array([not name.endswith(("_sin", "_cos")) for name in FEATURES])
_LOW = np.array([-1.0 if not n else -np.inf for n in _NULLABLE])
_LOW[FEATURES.index("desvio_movel_7")] = _LOW[FEATURES.index("evento_especial")] = 0.0
_HIGH = np.array([1.0 if not n else np.inf for n in _NULLABLE])
_HIGH[FEATURES.index("evento_especial")] = 1.0
_ERRORS = 20  # that one answer names


def sequence_of(body: bytes, length: int) -> np.ndarray:
    """The window of a `/predict` body. → (length, 11) float64, NaN where null.

    Raises RequestError: 400 for bad JSON, 422 naming the field for anything else.
    """
    quick = loads_quick(body)
    if isinstance(quick, dict) and len(quick) == 1:
        rows = quick.get("sequence")
        # As many quotation marks as the keys need: so no key is there twice.
        if body.count(b'"') == 2 * (1 + length * len(FEATURES)):
            block = _block(rows, length)
            if block is not None:
                return block
    asked = loads(body)
    rows = _only_key(asked, "sequence")
    _check_rows(rows, length)
    block = _block(rows, length)
    if block is None:
        raise RuntimeError("rows that have no fault cannot be read")
    return block


def _block(rows: Any, length: int) -> np.ndarray | None:
    """None where anything is wrong."""
    if not isinstance(rows, list) or len(rows) != length:
        return None
    try:
        if max(map(len, rows)) != len(FEATURES):
            return None
        cells = list(chain.from_iterable(map(_CELLS, rows)))
        block = np.array(cells, dtype=np.float64).reshape(length, len(FEATURES))
    except (TypeError, KeyError, ValueError, OverflowError, IndexError):
        return None
    kinds = set(map(type, cells))
    if not kinds <= _NUMBERS:
        if kinds - _NUMBERS != {_MISSING}:
            return None
        if np.isnan(block[:, ~_NULLABLE]).any() or np.isinf(block).any():
            return None
        return block if not ((block < _LOW) | (block > _HIGH)).any() else None
    inside = (block >= _LOW) & (block <= _HIGH) & np.isfinite(block)
    return block if inside.all() else None


def _only_key(asked: Any, key: str) -> Any:
    if not isinstance(asked, dict):
        raise invalid("", f"expected a JSON object with the key {key!r}")
    errors = [(str(name), "is not a field of this call") for name in asked if name != key]
    if key not in asked:
        errors.append((key, "is missing"))
    _raise(errors)
    return asked[key]


def _check_rows(rows: Any, length: int) -> None:
    """Raises RequestError for what is wrong with rows, field by field."""
    if not isinstance(rows, list):
        raise invalid("sequence", f"expected a list of {length} objects, one a day")
    if len(rows) != length:
        raise invalid("sequence", f"expected {length} rows, got {len(rows)}")
    errors: list[tuple[str, str]] = []
    for i, row in enumerate(rows):
        if len(errors) >= _ERRORS:
            break
        place = f"sequence[{i}]"
        if not isinstance(row, dict):
            errors.append((place, "expected an object with the eleven features"))
            continue
        for j, name in enumerate(FEATURES):
            fault = _fault(row[name], j) if name in row else "is missing"
            if fault:
                errors.append((f"{place}.{name}", fault))
        extra = [name for name in row if name not in FEATURES]
        errors += [(f"{place}.{name[:60]}", "is not one of the eleven features") for name in extra]
    _raise(errors)


def _fault(cell: Any, column: int) -> str | None:
    """What is wrong with a value of a column, None where nothing is."""
    null = " or null" if _NULLABLE[column] else ""
    if cell is None:
        return None if null else "expected a number, got null"
    if type(cell) not in _NUMBERS:
        kinds = {str: "a string", bool: "a boolean", list: "a list", dict: "an object"}
        return f"expected a number{null}, got {kinds.get(type(cell), 'something else')}"
    try:
        number = float(cell)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        return "expected a finite number, got one too large for 64 bits"
    if number < _LOW[column] or number > _HIGH[column]:
        high = _HIGH[column]
        limits = f"at least {_LOW[column]:g}" + (f" and at most {high:g}" if high < np.inf else "")
        return f"expected {limits}, got {number:g}"
    return None


def _raise(errors: list[tuple[str, str]]) -> None:
    if errors:
        field, text = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise RequestError(422, f"{field}: {text}{more}", errors)
