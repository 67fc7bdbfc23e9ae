"""Run the ONNX graph of an artifact, without PyTorch.

A model folder holds `model.onnx`, `weights.safetensors`, `contract.json`, `background.npz` (the
windows that explanations compare with) and `reference.parquet` (the features that drift checks
compare with); since format 2 perhaps also `effects.npz` (what covariates do to a series),
`past_effects.npz` (what past covariates say of the days ahead),
`ranks.npz` (where the truth fell in past forecasts, to draw paths by) and `cold_start.npz` (what
young series borrow from others). Nothing in it is executable, and the contract holds the SHA-256 of
every file.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from lib.data import Panel
from lib.features import (
    FEATURES,
    FUTURE,
    YOUNG_DAYS,
    SeriesPool,
    complete_past,
    compute_features,
    find_young,
    gather_context,
)
from lib.features import known_future as gather_known_future
from lib.inference.artifact import (
    COLD_START,
    EFFECTS,
    PAST_EFFECTS,
    RANKS,
    ArtifactError,
    Contract,
    verify_folder,
)
from lib.inference.bounds import apply_floors, apply_spread, cover_zeros
from lib.inference.cold_start import ColdStart, floor_young
from lib.inference.effects import LearnedEffects, LearnedPast
from lib.inference.ranks import Ranks
from lib.inference.shared_graph import SharedGraph


class ServedModel:
    """Forecast windows with a loaded artifact. Several threads may call `predict` at once."""

    def __init__(self, contract: Contract, session: ort.InferenceSession, folder: Path) -> None:
        self.contract = contract
        self.folder = folder
        self.ranks = Ranks.read(folder / RANKS) if RANKS in contract.sha256 else None
        self.covariates: LearnedEffects | None = None
        self.past: LearnedPast | None = None
        if EFFECTS in contract.sha256:
            median = contract.quantiles.index(0.5)
            self.covariates = LearnedEffects.read(folder / EFFECTS, median)
        if PAST_EFFECTS in contract.sha256:
            self.past = LearnedPast.read(folder / PAST_EFFECTS, contract.quantiles.index(0.5))
        path = folder / COLD_START
        self.cold_start = (
            ColdStart.read(path)
            if COLD_START in contract.sha256
            else ColdStart.usual(contract.quantiles)
        )
        self.shared = SharedGraph.of(contract, folder)
        self._session = session

    @classmethod
    def load(cls, folder: Path | str) -> ServedModel:
        """Verify every file of a model folder and open its graph on one thread.

        Raises:
            ArtifactError: a file is missing, altered or of another format, or the graph has
                other inputs than the contract.
        """
        folder = Path(folder)
        contract = verify_folder(folder)
        session = _open_session(folder / "model.onnx")
        names = [node.name for node in session.get_inputs()]
        if names != ["features", "future"]:
            raise ArtifactError(f"model.onnx: inputs are {names}, expected features and future")
        return cls(contract, session, folder)

    def reopen(self, folder: Path) -> ServedModel:
        """Return the model of a folder with the same graph, which is open."""
        return ServedModel(Contract.read(folder), self._session, folder)

    def replace(self, **parts: Any) -> ServedModel:
        """Return the model with other parts, such as `covariates`, by the graph that is open.

        Only the pretrained graph takes a contract with another horizon.
        """
        other = copy(self)
        vars(other).update(parts)
        return other

    def predict(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Return the quantile forecasts of a batch of windows, in the unit of the series.

        Args:
            features: (batch, days, 11), from `context_length` to `max_context` days, raw units,
                NaN where missing.
            future: (batch, horizon, len(FUTURE)), NaN where unknown.

        Returns:
            (batch, horizon, quantiles), rising along the last axis.

        Raises:
            ValueError: a shape is not that of the contract.
        """
        self._check_shapes(features, future)
        scaled = self.shared.scale(features, future) if self.shared else (features, future)
        inputs = {
            name: np.ascontiguousarray(array, dtype=np.float64)
            for name, array in zip(("features", "future"), scaled, strict=True)
        }
        quantiles = np.asarray(self._session.run(None, inputs)[0])
        return self.shared.finish(quantiles, features) if self.shared else quantiles

    def background(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows that explanations compare with.

        Returns:
            Features (n, max_context, 11) and known future (n, horizon, len(FUTURE)), raw units.
        """
        with np.load(self.folder / "background.npz") as arrays:
            return arrays["features"], arrays["future"]

    def _check_shapes(self, features: np.ndarray, future: np.ndarray) -> None:
        contract = self.contract
        shortest, longest = contract.context_length, contract.max_context
        days = features.shape[1] if features.ndim == 3 else -1
        if not shortest <= days <= longest or features.shape[2] != len(FEATURES):
            raise ValueError(
                f"features: expected (batch, {shortest} to {longest} days, {len(FEATURES)}), "
                f"got {features.shape}"
            )
        expected = (len(features), contract.horizon, len(FUTURE))
        if future.shape != expected:
            raise ValueError(f"future: expected {expected}, got {future.shape}")


def forecast_panel(
    model: ServedModel,
    panel: Panel,
    origins: np.ndarray,
    *,
    context: int | None = None,
    known_future: bool = True,
    batch: int = 512,
) -> np.ndarray:
    """Return the quantile forecasts from some origins of a panel, in the unit of the series.

    A series needs one known day. The past of a young one is filled in (`complete_past`), and its
    quantiles are wider. Nothing after an origin is used, apart from known-future covariates.

    Args:
        origins: (n,) row numbers of the last known day of each forecast.
        context: days of features to use (default: the longest context of the model).
        known_future: whether to use the known-future covariates of the days ahead.
        batch: windows per inference, which bounds memory.

    Returns:
        (n, horizon, quantiles).
    """
    contract = model.contract
    if not len(origins):
        return np.empty((0, contract.horizon, len(contract.quantiles)))

    def forecast(panel: Panel, origins: np.ndarray) -> np.ndarray:
        days = contract.max_context if context is None else context
        young = find_young(panel, origins)
        quantiles = np.empty((len(origins), contract.horizon, len(contract.quantiles)))
        old = origins[~young]
        if len(old):
            quantiles[~young] = _forecast_windows(model, panel, old, days, known_future, batch)
        if len(old) < len(origins):
            quantiles[young] = _forecast_young(
                model, panel, origins[young], days, known_future, batch
            )
        quantiles = apply_spread(contract, panel, origins, quantiles)
        return model.past.restore(panel, origins, quantiles) if model.past else quantiles

    if model.covariates is None:
        quantiles = forecast(panel, origins)
    else:
        quantiles = model.covariates.forecast(panel, origins, forecast, known_future=known_future)
    quantiles = apply_floors(contract, panel, origins, quantiles)
    quantiles = floor_young(panel, origins, quantiles)
    return cover_zeros(contract, panel, origins, quantiles)


def _forecast_windows(
    model: ServedModel,
    panel: Panel,
    origins: np.ndarray,
    days: int,
    known_future: bool,
    batch: int,
) -> np.ndarray:
    """Return the quantiles that the graph gives, `batch` windows at a time."""
    features = compute_features(panel)
    forecasts = []
    for start in range(0, len(origins), batch):
        rows = origins[start : start + batch]
        history = gather_context(panel, features, rows, days)
        future = gather_known_future(
            panel, rows, model.contract.horizon, with_covariates=known_future
        )
        forecasts.append(model.predict(history, future))
    return np.concatenate(forecasts)


def forecast_completed(
    model: ServedModel,
    pool: SeriesPool,
    panel: Panel,
    origins: np.ndarray,
    *,
    days: int,
    known_future: bool = True,
    batch: int = 512,
    known_days: int = YOUNG_DAYS,
) -> np.ndarray:
    """Return the quantiles that the graph gives for series whose past is filled in.

    Args:
        model: that forecasts.
        pool: of the series that the past is filled in from.
        panel: N rows, without the effects of covariates.
        origins: (n,) rows.
        days: of features that the graph sees.
        known_future: whether it sees the known-future covariates of the days ahead.
        batch: windows per inference, which bounds memory.
        known_days: up to the origin; earlier values are not looked at.

    Returns:
        (n, horizon, quantiles).
    """
    forecasts = []
    for start in range(0, len(origins), batch):
        rows = origins[start : start + batch]
        completed, ends = complete_past(pool, panel, rows, model.contract.horizon, known_days)
        forecasts.append(_forecast_windows(model, completed, ends, days, known_future, batch))
    return np.concatenate(forecasts)


def _forecast_young(
    model: ServedModel,
    panel: Panel,
    origins: np.ndarray,
    days: int,
    known_future: bool,
    batch: int,
) -> np.ndarray:
    """Return the quantiles of young series, as wide as their known days allow."""
    cold_start = model.cold_start
    quantiles = forecast_completed(
        model,
        cold_start.pool,
        panel,
        origins,
        days=days,
        known_future=known_future,
        batch=batch,
    )
    middle = int(np.argmin(np.abs(np.array(model.contract.quantiles) - 0.5)))
    return cold_start.widen(panel, origins, quantiles, middle)


def _open_session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
