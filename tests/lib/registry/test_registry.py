"""The registry on a real MLflow store, with artifacts whose forecast is off by a known amount."""

import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from matplotlib.figure import Figure
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from lib import log
from lib.evaluation.paired_comparison import Difference
from lib.evaluation.scores import Backtest
from lib.evaluation.verdict import Verdict
from lib.features.engineering import FEATURES, FUTURE
from lib.files import file_hash
from lib.inference.artifact import CONTRACT, FILES, TWIN, ArtifactError, Contract
from lib.inference.served_model import ServedModel
from lib.registry import __main__ as command_line
from lib.registry import model_logging, tracking
from lib.registry.promotion import decide_promotion
from lib.registry.registry import Registry
from lib.registry.versions import PRODUCTION, STAGING, RegistryError
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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
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
        sha256={name: file_hash(folder / name) for name in FILES},
    )
    (folder / CONTRACT).write_text(contract.to_json())
    return folder


def evaluate(folder, days):
    """Return the error that an artifact was made with, by forecasting a constant series."""
    forecaster = ServedModel.load(folder)
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
    """A registered model of this test, in the store that all tests share."""
    settings = store.settings.model_copy(update={"registered_model_name": request.node.name})
    registry = Registry(settings)
    registry.__dict__["client"] = store.client
    return registry


@pytest.fixture
def add(registry, run_id, tmp_path):
    """Register an artifact with an error, and return its version."""

    def register(error):
        folder = write_artifact(tmp_path / f"artifact-{len(list(tmp_path.iterdir()))}", error)
        return registry.register(folder, run_id=run_id, metrics={"mase": error})

    return register


@pytest.fixture
def logged(store, run_id, tmp_path_factory):
    """The folder MLflow keeps of a model."""
    contract = write_artifact(tmp_path_factory.mktemp("made") / "model")
    values = Contract.from_json((contract / CONTRACT).read_text())
    _, place = model_logging.log_model(store.client, values, contract, run_id, {"mase": 0.5})
    return Path(place.removeprefix("file://"))


def tags(registry, version):
    return registry.client.get_model_version(registry.name, str(version)).tags


def gate(registry, version, **options):
    return registry.gate(version, evaluate=evaluate, seasonal_naive=NAIVE, **options)


def test_decide_needs_less_than_both():
    cases = [(0.5, 0.6, True), (0.6, 0.6, False), (0.7, 0.6, False), (1.0, None, False)]
    cases += [(0.9, None, True), (0.9, float("nan"), True), (float("nan"), None, False)]
    cases += [(1.2, 1.5, False)]
    for score, best, expected in cases:
        champion = None if best is None else {"mase": best}
        assert decide_promotion({"mase": score}, champion, NAIVE).promote is expected, (score, best)


def test_decide_refuses_a_metric_that_should_be_high():
    with pytest.raises(ValueError, match="metric: got 'r2'"):
        decide_promotion({}, None, {}, metric="r2")


@pytest.mark.parametrize(
    "score", [{"mase": 3e304}, {"mase": 0.5, "wape": 2e5}, {"rmse@8-28": 1e19}]
)
def test_decide_refuses_an_expected_error_that_is_no_measure(score):
    found = decide_promotion({"mase": 0.5} | score, None, {"mase": 1e305})
    assert not found.promote
    assert found.reason.startswith("the expected error is no measure")


def test_decide_compares_unequal_horizons_over_the_shorter():
    scores = {"mase": 0.9}, {"mase": 0.5}, NAIVE
    assert decide_promotion(*scores, shared_horizon={"mase": 0.4}).promote
    assert not decide_promotion(*scores, shared_horizon={"mase": 0.6}).promote


def test_decide_follows_the_verdict_beside_the_best_simple_forecast():
    differences = (Difference("mase", "weekday_median", 0.5, 0.6, -0.1, 0.02, 9),)
    better = Verdict(True, "mase 0.5 beats the median", differences)
    found = decide_promotion({"mase": 0.5}, None, NAIVE, verdict=better)
    assert found.promote
    assert found.reason == "mase 0.5 beats the median; no production version to compare with"
    assert found.figures["best_baseline_mase"] == "weekday_median"
    found = decide_promotion({"mase": 0.5}, {"mase": 0.7}, NAIVE, verdict=better)
    assert found.reason == "mase 0.5 beats production, 0.7; mase 0.5 beats the median"
    assert not decide_promotion({"mase": 0.5}, {"mase": 0.4}, NAIVE, verdict=better).promote
    worse = Verdict(False, "repeating last week is better here", differences)
    found = decide_promotion({"mase": 0.5}, None, NAIVE, verdict=worse)
    assert (found.promote, found.reason) == (False, worse.reason)


def difference(metric, gain, error, score=0.5):
    return Difference(metric, "production", score - gain, score, -gain, error, 12)


@pytest.mark.parametrize(
    ("mase", "wql", "promote", "word"),
    [
        ((0.05, 0.02), (0.05, 0.02), True, "beats production"),
        ((0.01, 0.02), (0.05, 0.02), False, "too little to replace it"),  # within noise
        ((0.004, 0.001), (0.05, 0.02), False, "too little to replace it"),  # below the margin
        ((0.05, 0.02), (-0.05, 0.02), False, "wql 0.55 against 0.5 of production"),
        ((0.05, 0.02), (-0.01, 0.02), True, "beats production"),  # a loss within noise
        ((0.05, float("nan")), (0.05, float("nan")), True, "beats production"),
    ],
)
def test_champion_is_replaced_by_more_than_noise_and_a_margin(mase, wql, promote, word):
    differences = difference("mase", *mase), difference("wql", *wql)
    scores = {"mase": 0.5 - mase[0]}
    found = decide_promotion(scores, {"mase": 0.5}, NAIVE, differences=differences)
    assert found.promote is promote
    assert word in found.reason
    assert found.figures["difference_from_champion_mase"] == pytest.approx(-mase[0])


@pytest.mark.parametrize(("revision", "promote"), [(0.1, True), (0.195, False), (0.3, False)])
def test_between_equals_the_steadier_forecast_wins(revision, promote):
    differences = difference("mase", 0.004, 0.02), difference("wql", 0.0, 0.02)
    scores, champion = {"mase": 0.496, "revision": revision}, {"mase": 0.5, "revision": 0.2}
    found = decide_promotion(scores, champion, NAIVE, differences=differences)
    assert found.promote is promote
    assert (found.figures["revision"], found.figures["champion_revision"]) == (revision, 0.2)
    assert ("move less" in found.reason) is promote


def test_gate_pairs_the_backtests_of_challenger_and_champion(registry, add):
    rng = np.random.default_rng(0)
    cutoffs = np.repeat(np.datetime64("2024-01-01") + 7 * np.arange(6), 2)
    noise = rng.normal(0, 1.0, (12, HORIZON))

    def backtest(folder, days):
        error = json.loads((folder / CONTRACT).read_text())["metrics"]["mase"]
        point = (error + 0.01 * noise)[:, :days]
        return Backtest(
            series=np.tile([0, 1], 6),
            cutoffs=cutoffs,
            actual=np.zeros_like(point),
            point=point,
            quantiles=np.stack([point] * 3, axis=-1),
            levels=(0.1, 0.5, 0.9),
            scale=np.ones(12),
        )

    def run(version):
        return registry.gate(version, evaluate=backtest, seasonal_naive=NAIVE)

    assert run(add(0.5)).promote
    assert not run(add(0.4999)).promote  # better on every origin, by nothing that matters
    decision = run(add(0.4))
    assert decision.promote
    assert decision.figures["difference_from_champion_mase"] == pytest.approx(-0.1, abs=0.01)


def test_register_makes_the_version_staging(registry, add):
    assert registry.version_of(STAGING) is None
    assert add(0.5) == registry.version_of(STAGING) == 1
    assert registry.version_of(PRODUCTION) is None


def test_first_version_must_beat_seasonal_naive(registry, add):
    worse = gate(registry, add(1.5))
    assert not worse.promote
    assert "does not beat seasonal naive, 1" in worse.reason
    assert registry.version_of(PRODUCTION) is None
    assert gate(registry, add(0.9)).promote
    assert registry.version_of(PRODUCTION) == 2


def test_gate_replaces_production_only_by_a_better_one(registry, add):
    gate(registry, add(0.5))
    assert not gate(registry, add(0.6)).promote
    assert not gate(registry, add(0.5)).promote  # equal
    assert registry.version_of(PRODUCTION) == 1
    assert gate(registry, add(0.4)).promote
    assert registry.version_of(PRODUCTION) == 4
    kept, promoted = tags(registry, 2), tags(registry, 4)
    assert kept["gate_decision"] == "kept in staging"
    assert kept["gate_reason"] == "mase 0.6 does not beat production, 0.5"
    assert promoted["gate_decision"] == "promoted"
    assert json.loads(promoted["gate_figures"]) == {
        "metric": "mase",
        "challenger": pytest.approx(0.4),
        "champion": pytest.approx(0.5),
        "champion_version": 1,
        "seasonal_naive": 1.0,
    }
    assert promoted["gate_at"] <= registry.history()[-1]["since"]
    again = gate(registry, 4)
    assert again.promote
    assert "in production already" in again.reason


def test_gate_reports_a_production_version_that_cannot_be_read(registry, add, tmp_path):
    gate(registry, add(0.3))
    place = registry.client.get_model_version_download_uri(registry.name, "1")
    path = Path(place.removeprefix("file://")) / "artifacts" / "model" / CONTRACT
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 0'))
    assert not gate(registry, add(1.1)).promote
    decision = gate(registry, add(0.5))
    assert decision.promote
    assert "production version 1 cannot be evaluated: ArtifactError" in decision.reason
    assert "ArtifactError" in json.loads(tags(registry, 3)["gate_figures"])["champion_problem"]


def test_gate_raises_and_changes_nothing_when_the_machine_fails(registry, add):
    gate(registry, add(0.5))
    version, evaluated = add(0.4), []

    def full_disk(folder, days):
        evaluated.append(folder.name)
        if folder.name == "champion":
            raise OSError(28, "No space left on device")
        return evaluate(folder, days)

    with pytest.raises(OSError, match="No space left"):
        registry.gate(version, evaluate=full_disk, seasonal_naive=NAIVE)
    assert evaluated == ["challenger", "champion"]
    assert registry.version_of(PRODUCTION) == 1
    assert "gate_decision" not in tags(registry, version)


def test_gate_compares_a_shorter_horizon_with_its_days_only(registry, add, run_id, tmp_path):
    short = write_artifact(tmp_path / "short", 0.5, horizon=2)
    gate(registry, registry.register(short, run_id=run_id, metrics={}))
    evaluated = []

    def remember(folder, days):
        evaluated.append((folder.name, days))
        return evaluate(folder, days)

    assert registry.gate(add(0.4), evaluate=remember, seasonal_naive=NAIVE).promote
    assert evaluated == [("challenger", 3), ("champion", 2), ("challenger", 2)]


def test_gates_at_once_leave_the_best_in_production(registry, add):
    gate(registry, add(0.8))
    versions = [add(0.5), add(0.4)]
    both_compared = threading.Barrier(2)

    def meet(folder, days):
        scores = evaluate(folder, days)
        if folder.name == "champion" and scores["mase"] > 0.7:
            both_compared.wait(30)  # so that neither has set the alias yet
        return scores

    def run(version):
        registry.gate(version, evaluate=meet, seasonal_naive=NAIVE)

    threads = [threading.Thread(target=run, args=[version]) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert registry.version_of(PRODUCTION) == versions[1]
    assert [entry["version"] for entry in registry.history()][-1] == versions[1]
    assert {"gate_decision"} <= set(tags(registry, versions[0])) & set(tags(registry, versions[1]))


def test_rollback_steps_back_through_history(registry, add):
    for error in (0.5, 0.4, 0.3):
        assert gate(registry, add(error)).promote
    assert registry.rollback() == registry.version_of(PRODUCTION) == 2
    assert registry.rollback() == registry.version_of(PRODUCTION) == 1
    with pytest.raises(RegistryError, match="nothing to roll back to: version 1 is the first"):
        registry.rollback()
    assert registry.version_of(PRODUCTION) == 1
    assert [bool(entry["until"]) for entry in registry.history()] == [False, True, True]
    registry.promote(3)
    assert registry.rollback() == 1


def test_rollback_follows_an_alias_set_by_other_means(registry, add):
    gate(registry, add(0.5))
    add(0.9)
    registry.client.set_registered_model_alias(registry.name, PRODUCTION, "2")
    assert registry.rollback() == 1


def test_rollback_passes_over_deleted_versions(registry, add):
    for error in (0.5, 0.4, 0.3):
        gate(registry, add(error))
    registry.client.delete_model_version(registry.name, "2")
    assert registry.rollback() == 1


def test_rollback_without_production_is_an_error(registry, add):
    with pytest.raises(RegistryError, match="nothing is in production"):
        registry.rollback()


def test_fetch_returns_what_was_registered(registry, add, tmp_path):
    version = add(0.5)
    for which in (version, str(version), STAGING):
        folder = registry.fetch(which, tmp_path / "fetched")
        assert sorted(p.name for p in folder.iterdir()) == sorted([*FILES, CONTRACT])
    assert evaluate(folder, HORIZON)["mase"] == pytest.approx(0.5)


def test_fetch_refuses_an_altered_file_and_keeps_the_old_folder(registry, add, tmp_path):
    folder = registry.fetch(add(0.5), tmp_path / "fetched")
    version = add(0.4)
    place = registry.client.get_model_version_download_uri(registry.name, str(version))
    stored = Path(place.removeprefix("file://")) / "artifacts" / "model"
    (stored / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: checksum"):
        registry.fetch(version, folder)
    shutil.rmtree(stored)
    with pytest.raises(ArtifactError, match=r"version 2: .*contract\.json.* missing"):
        registry.fetch(version, folder)
    assert evaluate(folder, HORIZON)["mase"] == pytest.approx(0.5)
    assert not list(tmp_path.glob(".fetch-*"))


def test_fetch_of_an_unknown_version_names_the_known_ones(registry, add, tmp_path):
    with pytest.raises(RegistryError, match="'production': versions are none, aliases none"):
        registry.fetch(PRODUCTION, tmp_path / "fetched")
    add(0.5)
    with pytest.raises(RegistryError, match=r"has no version or alias 7: versions are 1, aliases"):
        registry.promote(7)


def test_register_refuses_an_altered_folder(registry, run_id, tmp_path):
    folder = write_artifact(tmp_path / "artifact")
    (folder / "background.npz").write_bytes(b"other")
    with pytest.raises(ArtifactError, match=r"background\.npz: checksum"):
        registry.register(folder, run_id=run_id, metrics={})
    assert registry.version_of(STAGING) is None


def test_logged_model_holds_no_serialised_python(logged):
    names = {path.name for path in logged.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc.py", "model.onnx", "requirements.txt"} <= names
    assert not [
        name for name in names if Path(name).suffix in (".pkl", ".pickle", ".joblib", ".pyc")
    ]
    assert "python_model.pkl" not in (logged / "MLmodel").read_text()
    required = (logged / "requirements.txt").read_text()
    assert "onnxruntime==" in required
    assert "torch" not in required


def test_logged_model_predicts_by_the_code_logged_with_it(logged, tmp_path):
    script = """
import sys, json, warnings
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = [{"start": "2024-01-01", "value": [7] * 59 + [None], "evento_especial": [0, 1.0] * 31,
         "fator_externo": []},
        {"start": "2024-02-01", "value": [5] * 70, "series_id": "b",
         "fator_externo": [None] * 70}]
table = model.predict(pd.DataFrame(rows))
print(json.dumps({"rows": table.to_dict("records"), "lib": "lib" in sys.modules,
                  "example": len(model.predict(model.input_example)),
                  "torch": "torch" in sys.modules}))
"""
    # Away from the project, whose folder would be searched first.
    command = [sys.executable, "-c", script, str(logged)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert not answer["lib"]
    assert not answer["torch"]
    assert answer["example"] == 2
    first, second = answer["rows"]
    assert (first["series_id"], second["series_id"]) == ("0", "b")
    assert first["date"] == ["2024-03-01", "2024-03-02", "2024-03-03"]
    assert second["q0.05"] == pytest.approx([4.0] * 3)
    assert second["q0.95"] == pytest.approx([6.0] * 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"value": [None] * 60}, "row 0, column 'value': got 60 days, 0 of them known"),
        ({"value": [float("inf")] * 60}, "row 0, column 'value': expected a list of finite"),
        ({"value": ["a"] * 60}, "row 0, column 'value': expected a list of finite"),
        ({"start": "yesterday"}, "row 0, column 'start': got 'yesterday'"),
        ({"evento_especial": [2.0]}, "row 0, column 'evento_especial': expected 0 to 1"),
        ({"fator_externo": [0.0] * 64}, "'fator_externo': got 64 days, expected at most 63"),
    ],
)
def test_pyfunc_names_row_and_column(tmp_path, row, message):
    from lib.inference import pyfunc

    forecaster = ServedModel.load(write_artifact(tmp_path / "artifact"))
    rows = pd.DataFrame([{"start": "2024-01-01", "value": [1.0] * 60} | row])
    with pytest.raises(ValueError, match=message):
        pyfunc.forecast_rows(forecaster, rows)


@pytest.mark.parametrize("days", [1, 7, 59])
def test_pyfunc_forecasts_series_of_any_length(tmp_path, days):
    from lib.inference import pyfunc

    forecaster = ServedModel.load(write_artifact(tmp_path / "artifact"))
    rows = pd.DataFrame([{"start": "2024-01-01", "value": [5.0] * days}])
    table = pyfunc.forecast_rows(forecaster, rows)
    assert np.isfinite(table["q0.95"][0]).all()


def test_log_run_keeps_all_of_a_run(store, tmp_path):
    table = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=3), "value": [1.0, 2.0, 3.0]})
    (tmp_path / "notes.txt").write_text("hello")
    history = [{"step": step, "loss": 1 / (step + 1)} for step in range(1200)]
    run_id = store.log_run(
        params={"model": {"hidden": 8}} | {f"p{i}": i for i in range(150)},
        metrics={"mase": 0.5, "nothing": None},
        history=history,
        figures={"fan": Figure()},
        files=[tmp_path / "notes.txt"],
        dataset=("series", table, "ab" * 32),
        tags={"profile": "ci"},
        name="a run",
    )
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["model.hidden"] == "8"
    assert len(run.data.params) == 151
    assert run.data.metrics["mase"] == 0.5
    assert "nothing" not in run.data.metrics
    assert [m.step for m in store.client.get_metric_history(run_id, "loss")] == list(range(1200))
    assert run.inputs.dataset_inputs[0].dataset.digest == ("ab" * 32)[:36]
    assert run.data.tags["data_fingerprint"] == "ab" * 32
    assert run.data.tags["git_commit"]
    artifacts = {
        f.path for d in ("figures", "files") for f in store.client.list_artifacts(run_id, d)
    }
    assert artifacts == {"figures/fan.png", "files/notes.txt", "files/series.parquet"}
    (tmp_path / "again").mkdir()
    names = ["notes.txt", "series.parquet"]
    files = tracking.download_files(store.client, run_id, names, tmp_path / "again")
    assert files[0].read_text() == "hello"
    pd.testing.assert_frame_equal(pd.read_parquet(files[1]), table)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    assert str(store.settings.var_dir) in run.info.artifact_uri


def test_log_run_leaves_out_a_large_series_table(store, monkeypatch):
    monkeypatch.setattr(tracking, "MAX_SERIES_FILE", 10)
    table = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=3), "value": 1.0})
    run_id = store.log_run(params={}, metrics={}, dataset=("series", table, "ab" * 32))
    assert store.client.list_artifacts(run_id, "files") == []


def test_log_run_that_fails_is_marked(store, tmp_path):
    with pytest.raises(Exception, match=r"missing\.txt"):
        store.log_run(params={}, metrics={}, files=[tmp_path / "missing.txt"], name="broken")
    experiment = tracking.experiment_id(store.client, store.settings)
    [run] = store.client.search_runs([experiment], "attributes.run_name = 'broken'")
    assert run.info.status == "FAILED"


def test_git_commit_outside_a_repository_is_unversioned(tmp_path):
    assert tracking.git_commit(tmp_path) == "unversioned"


def test_training_run_of_a_version_has_its_tags(registry, add, run_id):
    version = add(0.5)
    found, labels = registry.training_run(version)
    assert registry.fetch_files(version, ["series.parquet"], Path()) == []  # it logged none
    assert found == run_id
    assert "git_commit" in labels
    with pytest.raises(RegistryError):
        registry.training_run(PRODUCTION)


def test_each_registered_name_has_an_experiment(store):
    settings = store.settings
    assert tracking.experiment_name(settings) == "production-lstm"
    shops = settings.model_copy(update={"registered_model_name": "my shops"})
    assert tracking.experiment_name(shops) == "my shops"
    first = tracking.experiment_id(store.client, shops)
    assert first == tracking.experiment_id(store.client, shops)
    assert first != tracking.experiment_id(store.client, settings)
    assert store.client.get_experiment(first).artifact_location.endswith("/my%20shops")


def test_command_line_promotes_rolls_back_and_shows(registry, add, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "Registry", lambda: registry)
    monkeypatch.setattr(log, "configure_logging", lambda *_: None)
    add(0.5)
    add(0.4)
    assert command_line.main(["promote", "--version", "1"]) == 0
    assert command_line.main(["promote", "--version", "2"]) == 0
    assert command_line.main(["promote", "--version", "9"]) == 1
    assert command_line.main(["rollback"]) == 0
    assert command_line.main(["rollback"]) == 1
    printed = capsys.readouterr()
    assert "version 1 is in production again" in printed.out
    assert "no version or alias 9: versions are 1, 2" in printed.err
    assert "nothing to roll back to" in printed.err
    assert command_line.main(["show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["versions"][0]["aliases"] == [PRODUCTION]
    assert [entry["by"] for entry in shown["production"]] == ["hand", "hand"]
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["promote"])


def test_command_line_works_on_a_new_store(tmp_path):
    environment = os.environ | {
        "VAR_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/new/mlflow.db",
    }
    command = [sys.executable, "-m", "lib.registry", "rollback"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "nothing to roll back to: nothing is in production\n"
    assert done.stdout == ""


def test_importing_the_registry_loads_neither_mlflow_nor_torch():
    script = (
        "import sys, lib.registry.registry; sys.exit(bool({'mlflow', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_gate_judges_the_twins_of_refits(registry, add, run_id, tmp_path):
    def with_twin(error, twin_error):
        folder = write_artifact(tmp_path / f"refit-{error}", error)
        twin = write_artifact(tmp_path / f"twin-{error}", twin_error)
        with zipfile.ZipFile(folder / TWIN, "w") as archive:
            for name in (*FILES, CONTRACT):
                archive.write(twin / name, name)
        contract = Contract.read(folder)
        contract = replace(
            contract,
            sha256=contract.sha256 | {TWIN: file_hash(folder / TWIN)},
            settings={"twin": {"training_span": ["2022-01-01", "2023-06-30"]}},
        )
        (folder / CONTRACT).write_text(contract.to_json())
        return registry.register(folder, run_id=run_id, metrics={"mase": twin_error})

    assert gate(registry, add(0.5)).promote
    assert not gate(registry, with_twin(0.1, 0.6)).promote  # it knows the days, its twin does not
    version = with_twin(0.2, 0.4)
    assert gate(registry, version).promote
    assert tags(registry, version)["judged"] == "its twin, which has learned until 2023-06-30"
    assert gate(registry, add(0.3)).promote  # against the champion's twin, 0.4


def test_scores_of_simple_forecasts_come_from_the_training_run(registry, store, tmp_path):
    metrics = {"mase": 0.8, "days": 28.0, "mase_seasonal_naive": 1.8}
    metrics |= {"mase_naive": 2.0, "wql_mean_7": 30.0, "pinball_0.1": 1.0}
    run_id = store.log_run(params={}, metrics=metrics)
    folder = write_artifact(tmp_path / "artifact", 1.0)
    version = registry.register(folder, run_id=run_id, metrics={"mase": 0.8})
    assert registry.baseline_scores(version) == {
        "naive": {"mase": 2.0},
        "seasonal_naive": {"mase": 1.8},
        "mean_7": {"wql": 30.0},
    }
