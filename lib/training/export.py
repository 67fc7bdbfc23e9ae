"""Export a trained network as the served artifact: ONNX graph, weights, contract."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from lib import features as ft
from lib.calibration import PreparedData, add_learned, renew_effects
from lib.data import DataSplit, Panel
from lib.inference import ServedModel
from lib.models import LSTMForecaster, ModelConfig, tracing_any_horizon
from lib.training.artifact_files import write_contract, write_learned, write_windows
from lib.training.calibration import factors_by_block
from lib.training.data import FIT_DATES_FROM
from lib.training.graph import simplify_graph
from lib.training.loop import Fit

TOLERANCE = 1e-4  # largest difference of graph and network, in widths of the forecast


class ExportError(RuntimeError):
    """The exported graph differs from the network."""


def save_artifact(
    folder: Path,
    fit: Fit,
    data: PreparedData,
    panel: Panel,
    split: DataSplit,
    *,
    source: str = "",
    twin: ServedModel | None = None,
) -> ServedModel:
    """Write the artifact of a fit, without metrics yet, and load it.

    Args:
        folder: created if need be; files of an earlier artifact there are replaced.
        fit: calibrated.
        data: that it was trained on.
        panel: all series.
        split: of the days of `panel`.
        source: name of the data, such as that of its file, for people.
        twin: of a refit; the widths where covariates are unknown or series young are the twin's
            instead of those that are measured on the validation days.

    Raises:
        ExportError: graph and network differ on the background windows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, config = fit.model.eval(), fit.model.config
    background, future = write_windows(folder, data, panel, split, config.max_context)
    save_weights(folder / "weights.safetensors", model)
    export_onnx(folder / "model.onnx", model, background, future)
    write_contract(
        folder,
        config.to_dict(),
        fit.config.to_dict(),
        data,
        panel,
        split,
        source=source,
        series_spread=fit.series_spread,
    )
    served = ServedModel.load(folder)
    _compare(served, model, background, future)
    until = split.validation_end
    served = add_learned(served, data, until, partial(factors_by_block, model), twin)
    if split.train_end < until:  # no refit, whose effects have seen every day
        served = renew_effects(served, data, until, dates_from=FIT_DATES_FROM)
    return write_learned(folder, served)


def export_onnx(
    path: Path,
    model: LSTMForecaster,
    features: np.ndarray,
    future: np.ndarray,
    *,
    any_horizon: bool = False,
) -> None:
    """Write the network as one graph, with batch size and context length dynamic.

    The tracing exporter takes 0.3 s where the dynamo one takes 25 s for the same graph; tracing
    is exact here because no branch of the network depends on data.

    Args:
        path: the ONNX file.
        model: in evaluation mode.
        features: (batch, days, 11), an example to trace with.
        future: (batch, horizon, len(FUTURE)), the same.
        any_horizon: whether the number of days ahead is dynamic too; the graph is larger then.
    """
    ahead = {1: "horizon"} if any_horizon else {}
    tracing = tracing_any_horizon() if any_horizon else nullcontext()
    with tracing, warnings.catch_warnings():
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
                "future": {0: "batch", **ahead},
                "quantiles": {0: "batch", **ahead},
            },
        )
    if not any_horizon:
        simplify_graph(path)  # it takes sizes that are known


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
