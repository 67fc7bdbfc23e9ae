"""The files of a trained model, their contract, and the check of their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lib import features as ft

FORMAT_VERSION = 1
FILES = ("model.onnx", "weights.safetensors", "background.npz", "reference.parquet")
CONTRACT = "contract.json"


class ArtifactError(ValueError):
    """A model folder that must not be served: what is wrong with which file."""


@dataclass(frozen=True)
class Contract:
    """What a model expects and promises. Days, raw units; dates are ISO strings.

    `scaling` holds what was fitted on the training span (factor units, lower bound); the rest of
    the scaling is done per window inside the graph. `metrics` are those of the backtest.
    """

    horizon: int
    context_length: int
    max_context: int
    quantiles: tuple[float, ...]
    scaling: dict[str, float | None]
    fingerprint: str
    training_span: tuple[str, str]
    metrics: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ft.FEATURES
    future: tuple[str, ...] = ft.FUTURE
    format_version: int = FORMAT_VERSION
    sha256: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Raises ArtifactError on another format version, other features, or a missing field."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{CONTRACT}: expected JSON, got {error}") from error
        if not isinstance(values, dict):
            raise ArtifactError(f"{CONTRACT}: expected a JSON object, got {type(values).__name__}")
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise ArtifactError(f"{CONTRACT}: format_version {version}, expected {FORMAT_VERSION}")
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            raise ArtifactError(f"{CONTRACT}: missing or unknown {sorted(names ^ set(values))}")
        for name in ("quantiles", "training_span", "features", "future"):
            values[name] = tuple(values[name])
        for name, expected in (("features", ft.FEATURES), ("future", ft.FUTURE)):
            if values[name] != expected:
                raise ArtifactError(f"{CONTRACT}: {name} are {values[name]}, expected {expected}")
        return cls(**values)

    def to_json(self) -> str:
        """For contract.json; `from_json` reads it back."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


def verify(path: Path, sha256: str | None) -> None:
    """Raises ArtifactError where a file is missing or its SHA-256 is not the one given."""
    if not path.is_file():
        raise ArtifactError(f"{path.name}: missing")
    found = digest(path)
    if found != sha256:
        raise ArtifactError(f"{path.name}: checksum {found[:12]}, expected {str(sha256)[:12]}")


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
