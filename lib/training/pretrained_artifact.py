"""Make the pretrained network an artifact: `python -m lib.training.pretrained_artifact`.

Its graph forecasts any number of days, and all that is made without training shares it
(`lib.inference.shared_graph`). The service loads the artifact itself before anything was trained.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from lib.calibration import prepare_zero_shot
from lib.data import DataSplit, SynthesisSpec, synthesize
from lib.inference import CONTRACT, PRETRAINED_GRAPH, Contract, ServedModel
from lib.models import CARD_FILE, ZERO_SHOT_FOLDER, LSTMForecaster, ModelConfig, load_pretrained
from lib.training.artifact_files import write_contract, write_windows
from lib.training.config import TrainingConfig
from lib.training.export import export_onnx

HORIZON = 28  # days that the service forecasts with it
SERIES, DAYS = 4, 400  # of the synthetic panel whose windows an explanation compares with


def write_pretrained_artifact(folder: Path = ZERO_SHOT_FOLDER) -> ServedModel:
    """Write graph, windows and contract beside the pretrained weights, and load the artifact."""
    card = json.loads((ZERO_SHOT_FOLDER / CARD_FILE).read_text())
    config = ModelConfig.from_dict(card["model"] | {"horizon": HORIZON})
    panel, _ = synthesize(SynthesisSpec(n_series=SERIES, n_days=DAYS), seed=0)
    data = prepare_zero_shot(panel, HORIZON)
    last = panel.dates.max()
    split = DataSplit(last, last, last)
    background, future = write_windows(folder, data, panel, split, config.max_context)
    model = pretrained_model(config)
    export_onnx(folder / "model.onnx", model, background, future, any_horizon=True)
    write_contract(
        folder,
        config.to_dict(),
        TrainingConfig().to_dict(),
        data,
        panel,
        split,
        source="",
        series_spread={},
        further={PRETRAINED_GRAPH: ""},
    )
    contract = Contract.read(folder)
    learned = ("data", "covariates")  # of series: it has learned none
    settings = {k: v for k, v in contract.settings.items() if k not in learned}
    scaling = dict.fromkeys(contract.scaling)  # it takes them from each window
    contract = replace(contract, settings=settings, scaling=scaling)
    (folder / CONTRACT).write_text(contract.to_json() + "\n")
    return ServedModel.load(folder)


def pretrained_model(config: ModelConfig) -> LSTMForecaster:
    """Return the pretrained network with neutral units and widths, for any number of days."""
    model = LSTMForecaster(config)
    load_pretrained(model, ZERO_SHOT_FOLDER)
    model.spread = torch.ones((1, len(config.quantiles)), dtype=torch.float64)
    return model.eval()


if __name__ == "__main__":
    write_pretrained_artifact()
    sys.stdout.write(f"{ZERO_SHOT_FOLDER}\n")
