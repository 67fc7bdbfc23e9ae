"""The registry on a real MLflow store, with artifacts whose forecast is off by a known amount."""

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from matplotlib.figure import Figure
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from lib import registry as room
from lib import tracking
from lib.features import FEATURES, FUTURE
from lib.forecaster import CONTRACT, FILES, ArtifactError, Contract, Forecaster, digest
from lib.gate import decide
from lib.registry import PRODUCTION, STAGING, Registry, RegistryError
from lib.settings import get_settings

# Of MLflow's own code, not ours.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{warning}")
    for warning in (
        "The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "Operation with range is deprecated:pandas.errors.Pandas4Warning",
    )
]

HORIZON = 3
LEVELS = (0.05, 0.5, 0.95)
NAIVE = {"mase": 1.0}


def write_artifact(folder, error=0.0, horizon=HORIZON):
    """An artifact that forecasts the mean of the last week plus `error` on every day."""
    folder.mkdir(parents=True)
    offsets = error + np.array([-1.0, 0.0, 1.0])
    constants = {
        "last": np.array([-1]),
        "column": np.array([FEATURES.index("media_movel_7")]),
        "offsets": np.tile(offsets, (1, horizon, 1)),
    }
    nodes = [
        helper.make_node("Gather", ["features", "last"], ["day"], axis=1),
        helper.make_node("Gather", ["day", "column"], ["level"], axis=2),
        helper.make_node("Add", ["level", "offsets"], ["quantiles"]),
    ]
    shapes = {
        "features": ("batch", "days", len(FEATURES)),
        "future": ("batch", horizon, len(FUTURE)),
        "quantiles": ("batch", horizon, len(LEVELS)),
    }
    features, future, quantiles = (
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape)
        for name, shape in shapes.items()
    )
    graph = helper.make_graph(
        nodes,
        "forecaster",
        [features, future],
        [quantiles],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(model, folder / "model.onnx")
    save_file({"error": np.array([error])}, folder / "weights.safetensors")
    np.savez(folder / "background.npz", features=np.zeros(1), future=np.zeros(1))
    pd.DataFrame({"value": [error]}).to_parquet(folder / "reference.parquet")
    contract = Contract(
        horizon=horizon,
        context_length=60,
        max_context=90,
        quantiles=LEVELS,
        scaling={},
        fingerprint="0" * 64,
        training_span=("2024-01-01", "2024-12-31"),
        metrics={"mase": error},
        sha256={name: digest(folder / name) for name in FILES},
    )
    (folder / CONTRACT).write_text(contract.to_json())
    return folder


def evaluate(folder, days):
    """The error that an artifact was made with, found by forecasting a constant series."""
    forecaster = Forecaster.load(folder)
    history = np.full((1, 60, len(FEATURES)), 10.0)
    future = np.zeros((1, forecaster.contract.horizon, len(FUTURE)))
    return {"mase": abs(forecaster.predict(history, future)[0, :days, 1] - 10).mean()}


@pytest.fixture(scope="module")
def store():
    return Registry(get_settings(env_file=None))


@pytest.fixture(scope="module")
def run_id(store):
    return store.log_run(params={}, metrics={})


@pytest.fixture
def registry(store, request):
    """A registered model of its own in the store that all tests share."""
    settings = store.settings.model_copy(update={"registered_model_name": request.node.name})
    own = Registry(settings)
    own.__dict__["client"] = store.client
    return own


@pytest.fixture
def add(registry, run_id, tmp_path):
    """Register an artifact with a given error. → its version."""

    def register(error, **options):
        folder = write_artifact(tmp_path / f"artifact-{len(list(tmp_path.iterdir()))}", error)
        return registry.register(folder, run_id=run_id, metrics={"mase": error}, **options)

    return register


@pytest.fixture
def logged(store, run_id, tmp_path_factory):
    """The folder MLflow keeps of a model."""
    contract = write_artifact(tmp_path_factory.mktemp("made") / "model")
    values = Contract.from_json((contract / CONTRACT).read_text())
    _, place = tracking.log_model(store.client, values, contract, run_id, {"mase": 0.5})
    return Path(place.removeprefix("file://"))


def tags(registry, version):
    return registry.client.get_model_version(registry.name, str(version)).tags


def gate(registry, version, **options):
    return registry.gate(version, evaluate=evaluate, seasonal_naive=NAIVE, **options)


def test_times(add, registry):
    version = add(0.5)
    assert gate(registry, version).promote
