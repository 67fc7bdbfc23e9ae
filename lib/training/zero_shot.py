"""Write the artifact of the pretrained network for some data: calibrated, and not trained on it.

Nothing is exported and PyTorch is not loaded: the graph is the pretrained one as it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from lib.calibration import PreparedData, calibrate_zero_shot
from lib.data import DataSplit, Panel, to_panel, to_table
from lib.inference import (
    CALIBRATION,
    PRETRAINED_ARTIFACT,
    PRETRAINED_GRAPH,
    SERIES_SPREAD,
    ServedModel,
)
from lib.training.artifact_files import write_contract, write_learned, write_windows
from lib.training.config import TrainingConfig

NO_FLOOR = -1e300  # as the network has it


def save_zero_shot(
    folder: Path, panel: Panel, split: DataSplit, *, horizon: int, seed: int = 0
) -> ServedModel:
    """Write the artifact of the pretrained network for a panel, and load it.

    It is calibrated on the days up to `validation_end`, where it can be.

    Args:
        folder: created if need be; files of an earlier artifact there are replaced.
        panel: the series.
        split: of their days; nothing after its `validation_end` is looked at.
        horizon: days ahead.
        seed: is noted; nothing is drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (panel.dates > split.validation_end).any():
        table = to_table(panel)
        panel = to_panel(table[table["date"].to_numpy() <= split.validation_end])
    pretrained = ServedModel.load(PRETRAINED_ARTIFACT)
    served, data = calibrate_zero_shot(pretrained, panel, horizon)
    contract, shared = served.contract, served.shared
    if shared is None:
        raise TypeError("expected the graph of the pretrained network, got one of its own")
    model = contract.settings["model"]
    shutil.copyfile(PRETRAINED_ARTIFACT / "model.onnx", folder / "model.onnx")
    write_windows(folder, data, panel, split, contract.max_context)
    np.savez_compressed(folder / CALIBRATION, spread=shared.spread)
    _write_weights(folder / "weights.safetensors", model, data, shared.spread)
    write_contract(
        folder,
        model,
        TrainingConfig(seed=seed).to_dict(),
        data,
        panel,
        split,
        source="",
        series_spread=contract.settings.get(SERIES_SPREAD, {}),
        further={PRETRAINED_GRAPH: pretrained.contract.sha256["model.onnx"]},
        files=(CALIBRATION,),
    )
    return write_learned(folder, served)


def _write_weights(
    path: Path, model: dict[str, object], data: PreparedData, spread: np.ndarray
) -> None:
    """Write the network with its units, floor and widths, as training does."""
    weights = load_file(PRETRAINED_ARTIFACT / "weights.safetensors") | {
        "factor_mean": np.array(data.factor_mean),
        "factor_std": np.array(data.factor_std),
        "floor": np.array(0.0 if data.nonnegative else NO_FLOOR),
        "spread": spread,
    }
    path.write_bytes(save(weights, metadata={"model": json.dumps(model)}))
