"""Hashes files, turns values into JSON's types, and writes JSON files whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_hash(path: Path) -> str:
    """Return the sha256 hex of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(value: Any) -> str:
    """Return the sha256 hex of a value of JSON's types, whatever the order of its names.

    >>> text_hash({"a": 1, "b": 2}) == text_hash({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(value: Any, digits: int | None = None) -> Any:
    """Return `value` in JSON's types; null for what is not finite, ISO text for days.

    Args:
        value: mappings, sequences and numbers, also of NumPy and torch.
        digits: significant digits that floats keep; None keeps all.

    >>> to_json({"mase": 0.123456, "scale": float("nan"), "days": (1, 2)}, digits=3)
    {'mase': 0.123, 'scale': None, 'days': [1, 2]}
    """
    if hasattr(value, "tolist"):  # NumPy and torch, without importing them
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): to_json(item, digits) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item, digits) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as sorted JSON, the whole file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name per process: notebooks opened by hand may record into the same folder.
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)
