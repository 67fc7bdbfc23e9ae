"""Write a trained network as the artifact that is served: ONNX graph, weights, contract."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save

from lib import features as ft
from lib.data import DataSplit, Panel, fingerprint
from lib.files import file_hash
from lib.inference import CONTRACT, FILES, Contract, ServedModel
from lib.models import LSTMForecaster, ModelConfig
from lib.training.data import Data
from lib.training.loop import Fit

BACKGROUND_WINDOWS = 8
AGREEMENT = 1e-4  # largest difference of graph and network, in units of the forecast's spread


class ExportError(RuntimeError):
    """The exported graph does not do what the network does."""


def save_artifact(
    folder: Path, fit: Fit, data: Data, panel: Panel, split: DataSplit
) -> ServedModel:
    """Write the artifact of a fit, without metrics yet, and load it back.

    `folder` is created; files of an earlier artifact there are replaced.

    Raises:
        ExportError: graph and network differ on the background windows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, config = fit.model.eval(), fit.model.config
    background, future = _background(data, config)
    np.savez_compressed(folder / "background.npz", features=background, future=future)
    _reference(panel, data.train.features).to_parquet(folder / "reference.parquet")
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
        settings={"model": config.to_dict(), "training": fit.config.to_dict()},
        sha256={name: file_hash(folder / name) for name in FILES},
    )
    (folder / CONTRACT).write_text(contract.to_json())
    forecaster = ServedModel.load(folder)
    _check(forecaster, model, background, future)
    return forecaster


def add_metrics(folder: Path, metrics: dict[str, float]) -> ServedModel:
    """Write the backtest of an artifact into its contract (finite scores only) and reload it."""
    contract = Contract.from_json((folder / CONTRACT).read_text())
    finite = {k: float(v) for k, v in metrics.items() if np.isfinite(v)}
    (folder / CONTRACT).write_text(replace(contract, metrics=finite).to_json())
    return ServedModel.load(folder)


def export_onnx(
    path: Path, model: LSTMForecaster, features: np.ndarray, future: np.ndarray
) -> None:
    """One graph of (features, future), batch and days dynamic.

    The tracing exporter takes 0.3 s where the dynamo one takes 25 s for the same graph; tracing
    is exact here because no branch of the network depends on data.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size")
        warnings.filterwarnings("ignore", message="Constant folding")
        # of nn.LSTM's own checks of its input's shape
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


def save_weights(path: Path, model: LSTMForecaster) -> None:
    """The network with its settings in one safetensors file."""
    tensors = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    # `save_file` would make a file that only its writer may read
    path.write_bytes(save(tensors, metadata={"model": json.dumps(model.config.to_dict())}))


def load_weights(path: Path) -> LSTMForecaster:
    """The network of a weights file, to train on or to export again."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()["model"])
    model = LSTMForecaster(ModelConfig.from_dict(settings))
    model.load_state_dict(load_file(path))
    return model.eval()


def _background(data: Data, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the training span, evenly spaced: what a SHAP value is a difference from."""
    windows = data.train
    full = np.flatnonzero(_history(windows) >= min(config.max_context, _history(windows).max()))
    chosen = full[np.linspace(0, len(full) - 1, min(BACKGROUND_WINDOWS, len(full))).astype(int)]
    return windows.context(chosen, config.max_context), windows.future(chosen)


def _history(windows: ft.Windows) -> np.ndarray:
    series = np.searchsorted(windows.panel.offsets, windows.origins, side="right") - 1
    return windows.origins - windows.panel.offsets[series] + 1


def _reference(panel: Panel, features: np.ndarray, rows: int = 20_000) -> pd.DataFrame:
    """Features of all days the model was fitted, calibrated and judged on, dated.

    What drift is measured against, and until when a model knows the world: a change within the
    days it was judged on is none from there on.
    """
    count = len(panel.dates)
    past = np.linspace(0, count - 1, min(rows, count)).astype(int)
    series = np.searchsorted(panel.offsets, past, side="right") - 1
    table = pd.DataFrame(features[past], columns=list(ft.FEATURES))
    table.insert(0, "date", panel.dates[past].astype("datetime64[ns]"))
    table.insert(0, "series_id", np.array(panel.ids, dtype=object)[series])
    return table


def _check(
    forecaster: ServedModel, model: LSTMForecaster, features: np.ndarray, future: np.ndarray
) -> None:
    for days in (model.config.max_context, model.config.context_length):
        window = np.ascontiguousarray(features[:, -days:])
        with torch.no_grad():
            expected = model(torch.from_numpy(window), torch.from_numpy(future)).numpy()
        found = forecaster.predict(window, future)
        width = np.abs(expected[..., -1:] - expected[..., :1]) + 1e-9
        # What is all missing has no spread to compare with.
        seen = np.isfinite(window[..., ft.FEATURES.index("lag_1")]).any(axis=1)
        worst = float((np.abs(found - expected) / width)[seen].max(initial=0.0))
        if not worst <= AGREEMENT:
            raise ExportError(f"the graph differs from the network by {worst:.1e} spreads")
