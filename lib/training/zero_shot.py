"""The artifact of the pretrained network for some data: calibrated, and not trained on it.

The graph is the pretrained one as it is. Units, floor and widths are applied around it, so that
nothing is exported and PyTorch is not loaded.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from lib.data import DataSplit, Panel, to_panel, to_table
from lib.features import Windows
from lib.inference import CALIBRATION, PRETRAINED_ARTIFACT, PRETRAINED_GRAPH, Contract, ServedModel
from lib.training.artifact_files import add_learned, write_contract, write_windows
from lib.training.config import TrainingConfig
from lib.training.data import TrainingData, prepare_zero_shot
from lib.training.widths import residuals_of, spread_by_series, spread_of, weeks_of

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
    data = prepare_zero_shot(panel, horizon)
    pretrained = Contract.read(PRETRAINED_ARTIFACT)
    model = pretrained.settings["model"] | {"horizon": horizon}
    shutil.copyfile(PRETRAINED_ARTIFACT / "model.onnx", folder / "model.onnx")
    write_windows(folder, data, panel, split, pretrained.max_context)
    spread = np.ones((horizon, len(pretrained.quantiles)))

    def write(series_spread: dict[str, float]) -> None:
        np.savez_compressed(folder / CALIBRATION, spread=spread)
        _write_weights(folder / "weights.safetensors", model, data, spread)
        write_contract(
            folder,
            model,
            TrainingConfig(seed=seed).to_dict(),
            data,
            panel,
            split,
            source="",
            series_spread=series_spread,
            further={PRETRAINED_GRAPH: pretrained.sha256["model.onnx"]},
            files=(CALIBRATION,),
        )

    write({})
    plain = served = ServedModel.load(folder)
    levels = pretrained.quantiles
    known = residuals_of(plain, data.validation) if len(data.validation.origins) else None
    if known:
        residuals, offsets = known
        spread = spread_of(residuals, offsets, levels, weeks_of(data.validation))
        write(spread_by_series(data.validation, residuals, offsets * spread, levels))
        served = plain.reopen()

    def factors_of(windows: Windows) -> np.ndarray:
        same = known if windows is data.validation else None
        measured = same or residuals_of(plain, windows)
        return spread_of(*measured, levels, weeks_of(windows), prior_weeks=0)

    return add_learned(served, data, split, factors_of)


def _write_weights(
    path: Path, model: dict[str, object], data: TrainingData, spread: np.ndarray
) -> None:
    """Write the network with its units, floor and widths, as training does."""
    weights = load_file(PRETRAINED_ARTIFACT / "weights.safetensors") | {
        "factor_mean": np.array(data.factor_mean),
        "factor_std": np.array(data.factor_std),
        "floor": np.array(0.0 if data.nonnegative else NO_FLOOR),
        "spread": spread,
    }
    path.write_bytes(save(weights, metadata={"model": json.dumps(model)}))
