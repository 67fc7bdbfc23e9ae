"""Hashes of files, and JSON written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DIGITS = 10  # significant, in recorded metrics: the rest is rounding noise


def file_hash(path: Path) -> str:
    """Return the sha256 hex of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(value: Any) -> str:
    """Return the sha256 hex of a value of JSON's kinds, whatever the order of its names."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(value: Any, digits: int = _DIGITS) -> Any:
    """Return `value` in JSON's kinds: sorted by name, null for what is not finite.

    Numbers keep `digits` significant digits: by default those that a rounding does not reach.
    """
    if hasattr(value, "tolist"):  # NumPy and torch, without importing them
        value = value.tolist()
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: str(item[0]))
        return {str(k): to_json(v, digits) for k, v in items}
    if isinstance(value, (list, tuple)):
        return [to_json(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
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
