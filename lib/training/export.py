"""Export a trained network as the served artifact: ONNX graph, weights, contract."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from lib import features as ft
from lib.data import (
    DataSplit,
    Panel,
    describe_covariates,
    describe_data,
    fingerprint,
    is_planned,
    without_spikes,
)
from lib.files import file_hash
from lib.inference import (
    CONTRACT,
    EFFECTS,
    FILES,
    NONNEGATIVE_SERIES,
    OPTIONAL_FILES,
    RANKS,
    SERIES_SPREAD,
    Contract,
    LearnedEffects,
    ServedModel,
    collect_ranks,
)
from lib.models import LSTMForecaster, ModelConfig
from lib.training.data import TrainingData
from lib.training.graph import simplify_graph
from lib.training.hidden_covariates import calibrate_hidden
from lib.training.loop import Fit

BACKGROUND_WINDOWS = 8
REFERENCE_ROWS = 20_000  # feature rows that drift is measured against, at most
TOLERANCE = 1e-4  # largest difference of graph and network, in widths of the forecast


class ExportError(RuntimeError):
    """The exported graph differs from the network."""


def save_artifact(
    folder: Path,
    fit: Fit,
    data: TrainingData,
    panel: Panel,
    split: DataSplit,
    *,
    source: str = "",
    hidden_spread: np.ndarray | None = None,
) -> ServedModel:
    """Write the artifact of a fit, without metrics yet, and load it.

    Args:
        folder: created if need be; files of an earlier artifact there are replaced.
        fit: calibrated.
        data: that it was trained on.
        panel: all series.
        split: of the days of `panel`.
        source: name of the data, such as that of its file, for people.
        hidden_spread: as `calibrate_hidden` returns it; by default it is measured on the
            validation days.

    Raises:
        ExportError: graph and network differ on the background windows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, config = fit.model.eval(), fit.model.config
    background, future = _choose_background(data, config)
    np.savez_compressed(folder / "background.npz", features=background, future=future)
    features = ft.compute_features(without_spikes(panel, split.validation_end))
    _sample_reference(panel, features).to_parquet(folder / "reference.parquet")
    save_weights(folder / "weights.safetensors", model)
    export_onnx(folder / "model.onnx", model, background, future)
    contract = Contract(
        horizon=config.horizon,
        context_length=config.context_length,
        max_context=config.max_context,
        quantiles=config.quantiles,
        scaling={
            "factor_mean": data.factor_mean,
            "factor_std": data.factor_std,
            "floor": 0.0 if data.nonnegative else None,
        },
        fingerprint=fingerprint(panel),
        training_span=(str(panel.dates.min()), str(split.train_end)),
        metrics={},
        settings=_settings(fit, data)
        | {"data": describe_data(panel, source), "covariates": describe_covariates(panel)},
        sha256={name: file_hash(folder / name) for name in FILES},
    )
    (folder / CONTRACT).write_text(contract.to_json())
    served = ServedModel.load(folder)
    _compare(served, model, background, future)
    for name in OPTIONAL_FILES:
        (folder / name).unlink(missing_ok=True)
    learned = data.effects.learned if data.effects else None
    if learned is None:
        return _add_ranks(served, data)
    spread = calibrate_hidden(fit, data) if hidden_spread is None else hidden_spread
    served = _add_ranks(_add_effects(served, learned, spread), data)
    if split.train_end == split.validation_end:
        return served  # a refit: its effects have seen every day
    # The ranks are of effects that have not seen the validation days. Those that forecast have.
    newest = ft.fit_effects(data.observed, split.validation_end)
    same = newest is not None and newest.names == learned.names
    return _add_effects(served, newest, spread) if newest and same else served


def _add_ranks(served: ServedModel, data: TrainingData) -> ServedModel:
    """Add the ranks of the validation's truth to an artifact, which totals are made from."""
    if not len(data.validation.origins):
        return served
    ranks = collect_ranks(served, data.observed, data.validation.origins)
    if ranks is None:
        return served
    ranks.write(served.folder / RANKS)
    return _add_file(served, RANKS)


def _add_effects(
    served: ServedModel, effects: ft.CovariateEffects, hidden_spread: np.ndarray
) -> ServedModel:
    """Add the effects of covariates to an artifact, in the place of former ones."""
    median = served.contract.quantiles.index(0.5)
    LearnedEffects(effects, hidden_spread, median).write(served.folder / EFFECTS)
    return _add_file(served, EFFECTS)


def _add_file(served: ServedModel, name: str) -> ServedModel:
    """Enter a file that was written into the contract, and load the artifact again."""
    sha256 = served.contract.sha256 | {name: file_hash(served.folder / name)}
    (served.folder / CONTRACT).write_text(replace(served.contract, sha256=sha256).to_json())
    return ServedModel.load(served.folder)


def _settings(fit: Fit, data: TrainingData) -> dict[str, Any]:
    """Return the configuration of model and training, and what series do not share."""
    settings = {"model": fit.model.config.to_dict(), "training": fit.config.to_dict()}
    if fit.series_spread:
        settings[SERIES_SPREAD] = fit.series_spread
    if data.nonnegative or not data.nonnegative_series:
        return settings  # one floor, or none: the graph has it
    return settings | {NONNEGATIVE_SERIES: list(data.nonnegative_series)}


def add_metrics(folder: Path, metrics: dict[str, float]) -> ServedModel:
    """Add the scores of the backtest, those that are finite, to the contract and reload it."""
    contract = Contract.from_json((folder / CONTRACT).read_text())
    finite = {k: float(v) for k, v in metrics.items() if np.isfinite(v)}
    (folder / CONTRACT).write_text(replace(contract, metrics=finite).to_json())
    return ServedModel.load(folder)


def export_onnx(
    path: Path, model: LSTMForecaster, features: np.ndarray, future: np.ndarray
) -> None:
    """Write the network as one graph, with batch size and context length dynamic.

    The tracing exporter takes 0.3 s where the dynamo one takes 25 s for the same graph; tracing
    is exact here because no branch of the network depends on data.

    Args:
        path: the ONNX file.
        model: in evaluation mode.
        features: (batch, days, 11), an example to trace with.
        future: (batch, horizon, len(FUTURE)), the same.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size")
        warnings.filterwarnings("ignore", message="Constant folding")
        # from the checks of shapes in nn.LSTM
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        torch.onnx.export(
            model,
            (torch.from_numpy(features), torch.from_numpy(future)),
            str(path),
            dynamo=False,
            opset_version=18,
            input_names=["features", "future"],
            output_names=["quantiles"],
            dynamic_axes={
                "features": {0: "batch", 1: "days"},
                "future": {0: "batch"},
                "quantiles": {0: "batch"},
            },
        )
    simplify_graph(path)


def save_weights(path: Path, model: LSTMForecaster) -> None:
    """Write the network and its settings to one safetensors file."""
    tensors = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    # `save_file` would make a file that other users may not read
    path.write_bytes(save(tensors, metadata={"model": json.dumps(model.config.to_dict())}))


def load_weights(path: Path) -> LSTMForecaster:
    """Load the network of a weights file, in evaluation mode."""
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()["model"])
    model = LSTMForecaster(ModelConfig.from_dict(settings))
    model.load_state_dict(load_file(path))
    return model.eval()


def _choose_background(data: TrainingData, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Choose training windows, evenly spaced, that Shapley values are differences from.

    Returns:
        Features (n, max_context, 11) and known future (n, horizon, len(FUTURE)).
    """
    windows = data.train
    panel, origins = windows.panel, windows.origins
    history = origins - panel.first_row_of(origins) + 1  # days of each series up to its origin
    whole = np.flatnonzero(history >= min(config.max_context, history.max()))
    count = min(BACKGROUND_WINDOWS, len(whole))
    chosen = whole[np.linspace(0, len(whole) - 1, count).astype(int)]
    return windows.context(chosen, config.max_context), windows.known_future(chosen)


def _sample_reference(panel: Panel, features: np.ndarray) -> pd.DataFrame:
    """Sample the dated features of all days the model was fitted, calibrated and tested on.

    Drift is measured against them. A change within the days of the test is known to the model's
    users, so these days are included.
    """
    history = np.flatnonzero(~is_planned(panel))
    count = len(history)
    rows = history[np.linspace(0, count - 1, min(REFERENCE_ROWS, count)).astype(int)]
    return ft.tabulate_features(panel, features, rows).astype({"date": "datetime64[ns]"})


def _compare(
    served: ServedModel, model: LSTMForecaster, features: np.ndarray, future: np.ndarray
) -> None:
    """Compare graph and network on windows of the longest and the shortest context.

    Raises:
        ExportError: they differ by more than TOLERANCE.
    """
    for days in (model.config.max_context, model.config.context_length):
        window = np.ascontiguousarray(features[:, -days:])
        with torch.no_grad():
            expected = model(torch.from_numpy(window), torch.from_numpy(future)).numpy()
        actual = served.predict(window, future)
        width = np.abs(expected[..., -1:] - expected[..., :1]) + 1e-9
        # A window that is all missing has no width to compare with.
        observed = np.isfinite(window[..., ft.FEATURES.index("lag_1")]).any(axis=1)
        worst = float((np.abs(actual - expected) / width)[observed].max(initial=0.0))
        if not worst <= TOLERANCE:
            raise ExportError(
                f"the graph differs from the network by {worst:.1e} of the width of a forecast, "
                f"expected at most {TOLERANCE:.0e}"
            )
