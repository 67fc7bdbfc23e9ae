"""The served artifact: an ONNX graph and its contract. Torch-free.

A folder holds `model.onnx`, `weights.safetensors`, `contract.json`, `background.npz` (windows
that SHAP values are measured against) and `reference.parquet` (features that drift is measured
against). Nothing in it is executable, and every file's SHA-256 stands in the contract.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from lib import features as ft
from lib.panel import Panel

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


class Forecaster:
    """A loaded artifact. `predict` may be called from several threads."""

    def __init__(self, contract: Contract, session: ort.InferenceSession, folder: Path) -> None:
        self.contract = contract
        self.folder = folder
        self._session = session

    @classmethod
    def load(cls, folder: Path | str) -> Forecaster:
        """Check every file of a folder against its contract and open the graph, one thread.

        Raises:
            ArtifactError: a file is missing, altered, of another format, or not the graph it says.
        """
        folder = Path(folder)
        path = folder / CONTRACT
        if not path.is_file():
            raise ArtifactError(f"{CONTRACT}: missing in {folder.name}")
        contract = Contract.from_json(path.read_text())
        for name in FILES:
            verify(folder / name, contract.sha256.get(name))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        names = [node.name for node in session.get_inputs()]
        if names != ["features", "future"]:
            raise ArtifactError(f"model.onnx: inputs are {names}, expected features and future")
        return cls(contract, session, folder)

    def predict(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Quantile forecasts of windows, raw units.

        Args:
            features: (batch, days, 11), days from `context_length` to `max_context`, NaN missing.
            future: (batch, horizon, len(FUTURE)), NaN unknown.
        Returns:
            (batch, horizon, quantiles), rising along the last axis.
        Raises:
            ValueError: a shape is not of this contract.
        """
        contract = self.contract
        days = features.shape[1] if features.ndim == 3 else -1
        if not contract.context_length <= days <= contract.max_context or features.shape[2] != len(
            ft.FEATURES
        ):
            raise ValueError(
                f"features: expected (batch, {contract.context_length} to {contract.max_context} "
                f"days, {len(ft.FEATURES)}), got {features.shape}"
            )
        expected = (len(features), contract.horizon, len(ft.FUTURE))
        if future.shape != expected:
            raise ValueError(f"future: expected {expected}, got {future.shape}")
        inputs = {
            "features": np.ascontiguousarray(features, dtype=np.float64),
            "future": np.ascontiguousarray(future, dtype=np.float64),
        }
        return np.asarray(self._session.run(None, inputs)[0])

    def background(self) -> tuple[np.ndarray, np.ndarray]:
        """The windows SHAP values are measured against: features (n, days, 11), future (n, …)."""
        with np.load(self.folder / "background.npz") as arrays:
            return arrays["features"], arrays["future"]


def forecast_panel(
    forecaster: Forecaster,
    panel: Panel,
    ends: np.ndarray,
    *,
    context: int | None = None,
    known_future: bool = True,
    batch: int = 512,
) -> np.ndarray:
    """Quantile forecasts made after rows `ends` of a panel. → (len(ends), horizon, quantiles).

    Args:
        ends: row numbers of the last known day of each forecast; nothing later is used but the
            planned events and known factor (withheld by `known_future=False`).
        context: days of features to use (default: the longest the model takes).
        batch: windows per inference, which bounds memory.
    """
    contract = forecaster.contract
    days = contract.max_context if context is None else context
    features = ft.compute(panel)
    out = []
    for start in range(0, len(ends), batch):
        some = ends[start : start + batch]
        history = ft.gather_context(panel, features, some, days)
        future = ft.future_of(panel, some, contract.horizon, known=known_future)
        out.append(forecaster.predict(history, future))
    if not out:
        return np.empty((0, contract.horizon, len(contract.quantiles)))
    return np.concatenate(out)


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
