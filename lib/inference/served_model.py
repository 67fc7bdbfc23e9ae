"""The served artifact: an ONNX graph and its contract. Torch-free.

A folder holds `model.onnx`, `weights.safetensors`, `contract.json`, `background.npz` (windows
that SHAP values are measured against) and `reference.parquet` (features that drift is measured
against). Nothing in it is executable, and every file's SHA-256 stands in the contract.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from lib import features as ft
from lib.data import Panel
from lib.inference.artifact import CONTRACT, FILES, ArtifactError, Contract, verify


class ServedModel:
    """A loaded artifact. `predict` may be called from several threads."""

    def __init__(self, contract: Contract, session: ort.InferenceSession, folder: Path) -> None:
        self.contract = contract
        self.folder = folder
        self._session = session

    @classmethod
    def load(cls, folder: Path | str) -> ServedModel:
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
    forecaster: ServedModel,
    panel: Panel,
    origins: np.ndarray,
    *,
    context: int | None = None,
    known_future: bool = True,
    batch: int = 512,
) -> np.ndarray:
    """Quantile forecasts after rows `origins` of a panel. → (len(origins), horizon, quantiles).

    Args:
        origins: row numbers of the last known day of each forecast; nothing later is used but the
            planned events and known factor (withheld by `known_future=False`).
        context: days of features to use (default: the longest the model takes).
        batch: windows per inference, which bounds memory.
    """
    contract = forecaster.contract
    days = contract.max_context if context is None else context
    features = ft.compute_features(panel)
    out = []
    for start in range(0, len(origins), batch):
        some = origins[start : start + batch]
        history = ft.gather_context(panel, features, some, days)
        future = ft.future_of(panel, some, contract.horizon, known=known_future)
        out.append(forecaster.predict(history, future))
    if not out:
        return np.empty((0, contract.horizon, len(contract.quantiles)))
    return np.concatenate(out)
