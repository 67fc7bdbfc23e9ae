"""The artifact: the graph is the network, an altered one is refused, an old one still reads."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.data.panel import fingerprint
from lib.features.engineering import FEATURES
from lib.inference.artifact import CONTRACT, FILES, ArtifactError
from lib.inference.served_model import ServedModel, forecast_panel
from lib.settings import ROOT
from lib.training import loop
from lib.training.artifact_files import add_metrics
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.export import load_weights, save_artifact
from tests.networks import MODEL, forecast, inputs
from tests.panels import TINY_FORECAST, TINY_MODEL, lively_panel, split_of


@pytest.fixture(scope="module")
def artifact(small_training, tmp_path_factory):
    panel, split, data, fit = small_training
    folder = tmp_path_factory.mktemp("artifact")
    save_artifact(folder, fit, data, panel, split)
    return folder, fit, panel


@pytest.mark.parametrize("days", [60, 100, 175])
def test_graph_equals_the_network(artifact, days):
    folder, fit, panel = artifact
    features, future = inputs(panel, [180, 200, 220, 240, 500], days=days)
    for batch in (1, 2, 5):
        expected = forecast(fit.model, features[:batch], future[:batch])
        forecasts = ServedModel.load(folder).predict(
            features[:batch].numpy(), future[:batch].numpy()
        )
        np.testing.assert_allclose(forecasts, expected, rtol=1e-5)


def test_weights_make_the_same_network_again(artifact):
    folder, fit, panel = artifact
    again = load_weights(folder / "weights.safetensors")
    tensors = inputs(panel, [200, 250])
    assert again.config == fit.model.config
    np.testing.assert_array_equal(forecast(again, *tensors), forecast(fit.model, *tensors))


def test_contract_says_what_the_model_was_made_from(artifact):
    folder, fit, panel = artifact
    contract = add_metrics(folder, {"mase": 0.5, "wql": float("nan")}).contract
    assert contract.metrics == {"mase": 0.5}
    assert contract.fingerprint == fingerprint(panel)
    assert contract.settings["training"] == fit.config.to_dict()
    assert contract.scaling["floor"] == 0.0


def test_committed_artifact_still_gives_its_forecast():
    forecaster = ServedModel.load(TINY_MODEL)
    forecasts = forecaster.predict(*forecaster.background())
    np.testing.assert_allclose(forecasts, json.loads(TINY_FORECAST.read_text()), rtol=1e-5)


def test_forecast_panel_is_the_same_in_batches():
    forecaster, panel = ServedModel.load(TINY_MODEL), lively_panel()
    origins = np.arange(100, 120)
    whole = forecast_panel(forecaster, panel, origins)
    np.testing.assert_allclose(
        forecast_panel(forecaster, panel, origins, batch=3), whole, rtol=1e-6
    )
    assert forecast_panel(forecaster, panel, origins[:0]).shape == (0, 3, 3)


def test_graph_of_data_with_a_long_gap_is_the_network_too(small_training, tmp_path):
    _, _, _, fit = small_training
    panel = lively_panel(days=800, series=1)
    values = panel.values.copy()
    values[400:560] = np.nan  # a year after days that are seen: last year's shape is known
    panel, split = replace(panel, values=values), split_of(panel)
    data = prepare(panel, split, MODEL)
    background, _ = save_artifact(tmp_path, fit, data, panel, split).background()
    # Some of what the graph is checked with ends in the gap: its last 60 days are all missing.
    assert np.isnan(background[:, -60:, FEATURES.index("lag_1")]).all(axis=1).any()


def test_graph_of_a_constant_series_is_the_network_too(tmp_path):
    panel = lively_panel(days=400, series=1)
    panel, split = replace(panel, values=np.full_like(panel.values, 5.0)), split_of(panel)
    data = prepare(panel, split, MODEL)
    fit = loop.fit(data, MODEL, TrainingConfig(steps=5, evaluate_every=5))
    # Calibration has nothing to widen for: what is a rounding of the level must not matter.
    fit.model.spread.fill_(0.01)
    forecaster = save_artifact(tmp_path, fit, data, panel, split)
    forecasts = forecast_panel(forecaster, panel, np.array([350]))
    np.testing.assert_allclose(forecasts, 5.0, rtol=1e-2)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(TINY_MODEL, tmp_path / "model")


@pytest.mark.parametrize("name", [*FILES, CONTRACT])
def test_missing_file_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: missing"):
        ServedModel.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_refused(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=f"{name}: checksum"):
        ServedModel.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format_version 99, expected 1 or 2; a later release .* wrote it"),
        ({"format_version": 0}, "format_version 0, expected 1 or 2$"),
        ({"features": ["lag_1"]}, r"features are \('lag_1',\), expected"),
    ],
)
def test_contract_that_is_not_ours_is_refused(copy, change, message):
    values = json.loads((copy / CONTRACT).read_text()) | change
    (copy / CONTRACT).write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=message):
        ServedModel.load(copy)


def test_contract_without_a_field_is_refused(copy):
    values = json.loads((copy / CONTRACT).read_text())
    del values["horizon"]
    (copy / CONTRACT).write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=r"fields \['horizon'\] are missing"):
        ServedModel.load(copy)


def test_contract_with_a_later_field_is_read_without_it(copy, caplog):
    values = json.loads((copy / CONTRACT).read_text()) | {"surprise": 1}
    (copy / CONTRACT).write_text(json.dumps(values))
    assert ServedModel.load(copy).contract == ServedModel.load(TINY_MODEL).contract
    assert "fields ['surprise'] are unknown to this version, ignored" in caplog.text


def test_contract_that_is_no_json_is_refused(copy):
    (copy / CONTRACT).write_text("{")
    with pytest.raises(ArtifactError, match=r"contract.json: expected JSON"):
        ServedModel.load(copy)


def test_wrong_shapes_are_named():
    forecaster = ServedModel.load(TINY_MODEL)
    features, future = forecaster.background()
    with pytest.raises(ValueError, match=r"features: expected \(batch, 60 to 70 days, 11\)"):
        forecaster.predict(features[:, :59], future)
    with pytest.raises(ValueError, match=r"future: expected \(8, 3, 11\), got"):
        forecaster.predict(features, future[:, :2])


def test_forecaster_needs_neither_torch_nor_shap_nor_mlflow():
    code = (
        "import sys, lib.inference.served_model; "
        "sys.exit(str([m for m in ('torch', 'shap', 'mlflow') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() in ("", "[]")


def test_nothing_of_ours_reads_code_from_an_artifact():
    words = ("pick" + "le", "job" + "lib")
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]:
        assert not any(word in path.read_text() for word in words), path


def test_network_on_one_thread_is_repeatable(artifact):
    folder, _, panel = artifact
    features, future = inputs(panel, [200])
    forecaster = ServedModel.load(folder)
    first = forecaster.predict(features.numpy(), future.numpy())
    np.testing.assert_array_equal(first, forecaster.predict(features.numpy(), future.numpy()))
    assert torch.get_num_threads() >= 1
