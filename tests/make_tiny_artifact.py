"""Make the committed model of tests/data again: `python tests/make_tiny_artifact.py`.

Do so when the format version or the network changes on purpose, and commit what it writes.
"""

import json
import shutil

import torch

from lib.models.config import ModelConfig
from lib.training import calibration, config, loop
from lib.training.artifact_files import add_metrics
from lib.training.data import prepare
from lib.training.export import save_artifact
from tests.panels import TINY_FORECAST, TINY_MODEL, lively_panel, split_of

HORIZON = 3


def main() -> None:
    torch.set_num_threads(1)
    panel = lively_panel(days=200, series=1)
    split = split_of(panel, HORIZON)
    shape = ModelConfig(
        horizon=HORIZON,
        hidden=4,
        decoder_hidden=4,
        max_context=70,
        quantiles=(0.1, 0.5, 0.9),
    )
    settings = config.TrainingConfig(steps=20, batch_size=8, evaluate_every=10)
    data = prepare(panel, split, shape)
    fit = calibration.calibrate(loop.fit(data, shape, settings), data)
    shutil.rmtree(TINY_MODEL, ignore_errors=True)
    save_artifact(TINY_MODEL, fit, data, panel, split)
    forecaster = add_metrics(TINY_MODEL, {"mae": 1.0})
    quantiles = forecaster.predict(*forecaster.background())
    TINY_FORECAST.write_text(json.dumps(quantiles.tolist()) + "\n")


if __name__ == "__main__":
    main()
