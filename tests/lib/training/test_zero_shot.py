"""The pretrained network as an artifact: the committed graph is the network of the weights."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from lib.calibration import prepare_zero_shot
from lib.data import DataSplit
from lib.forecasting.fitting import take_pretrained
from lib.inference import PRETRAINED_ARTIFACT, ServedModel, forecast_panel
from lib.models import ZERO_SHOT_FOLDER, ModelConfig, pretrained_digest
from lib.settings import ROOT
from lib.training.export import load_weights
from lib.training.pretrained_artifact import pretrained_model
from lib.training.zero_shot import save_zero_shot
from tests.networks import inputs
from tests.panels import lively_panel, panel_of

NEW_ARTIFACT = "run `python -m lib.training.pretrained_artifact` after changing the weights"


def until_end(panel):
    last = panel.dates.max()
    return DataSplit(last, last, last)


def test_pretrained_folder_is_an_artifact_of_its_weights():
    assert PRETRAINED_ARTIFACT == ZERO_SHOT_FOLDER
    served = ServedModel.load(PRETRAINED_ARTIFACT)
    assert served.contract.sha256["weights.safetensors"] == pretrained_digest(ZERO_SHOT_FOLDER), (
        NEW_ARTIFACT
    )
    assert (ZERO_SHOT_FOLDER / "model.onnx").stat().st_size < 6_000_000


@pytest.mark.parametrize("horizon", [3, 28, 56])
@pytest.mark.parametrize("days", [60, 175])
def test_committed_graph_is_the_network_for_any_horizon(tmp_path, horizon, days):
    panel = lively_panel()
    served = save_zero_shot(tmp_path, panel, until_end(panel), horizon=horizon)
    config = ModelConfig.from_dict(served.contract.settings["model"])
    features, future = inputs(panel, [180, 200], days=days, horizon=horizon)
    features[..., 9], future[..., 6] = torch.nan, torch.nan  # of another unit
    with torch.no_grad():
        expected = pretrained_model(config)(features, future).numpy()
    graph = served._session.run(None, {"features": features.numpy(), "future": future.numpy()})[0]
    np.testing.assert_allclose(np.asarray(graph), expected, rtol=1e-5, err_msg=NEW_ARTIFACT)


def test_weights_of_the_artifact_are_graph_and_calibration_together(tmp_path):
    panel = lively_panel()
    served = save_zero_shot(tmp_path, panel, until_end(panel), horizon=28)
    network = load_weights(tmp_path / "weights.safetensors")
    assert (network.spread != 1).any()
    data = prepare_zero_shot(panel, 28)
    windows = data.validation
    index = np.arange(0, len(windows.origins), 20)
    context, future = windows.context(index, 175), windows.known_future(index)
    with torch.no_grad():
        expected = network(torch.from_numpy(context), torch.from_numpy(future)).numpy()
    np.testing.assert_allclose(served.predict(context, future), expected, rtol=1e-5)


def test_forecast_without_training_loads_no_torch(tmp_path):
    script = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from lib import Forecaster
days = pd.date_range("2024-01-01", periods=200)
sales = pd.DataFrame({"date": days, "value": 50 + np.arange(200) % 7})
sales["promo"] = np.arange(200) % 9 / 9
model = Forecaster(horizon=7).fit(sales, covariates=["promo"], effort="instant")
assert len(model.predict()) == 7
assert "torch" not in sys.modules and "mlflow" not in sys.modules, sorted(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nothing_after_the_first_cutoff_moves_the_forecast(tmp_path):
    panel = lively_panel()
    last = panel.dates.min() + 200
    origins = panel.offsets[:-1] + 200
    forecasts = []
    for change in (0.0, 1e4):
        values = np.where(panel.dates > last, panel.values + change, panel.values)
        changed = type(panel)(**{**vars(panel), "values": values})
        split = DataSplit(last, last, panel.dates.max())
        served = take_pretrained(changed, tmp_path / str(change), horizon=7, split=split)
        forecasts.append(forecast_panel(served, changed, origins, known_future=False))
    before, after = forecasts
    np.testing.assert_array_equal(before, after)


def test_a_holiday_that_nobody_marked_is_forecast_after_some_years(tmp_path):
    rng = np.random.default_rng(0)
    days = np.arange("2018-01-01", "2023-09-30", dtype="datetime64[D]")
    is_closed = np.array([str(day)[5:] == "10-07" for day in days])
    values = 100 * np.exp(0.03 * rng.standard_normal(len(days)) - 1.0 * is_closed)
    panel = panel_of(values, first=days[0])
    served = save_zero_shot(tmp_path, panel, until_end(panel), horizon=28)
    origins = np.array([len(days) - 1])
    for known_future in (True, False):
        median = forecast_panel(served, panel, origins, known_future=known_future)[0, :, 3]
        assert median[7] < 55  # 7 October
        assert (np.delete(median, 7) > 80).all()
    again = forecast_panel(ServedModel.load(tmp_path), panel, origins)
    np.testing.assert_array_equal(again, forecast_panel(served, panel, origins))
