"""What was registered, forecast and kept by the release before the packages goes on working."""

import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa

from lib.evaluation.backtest import run_backtest
from lib.evaluation.scores import compute_metrics
from lib.explanation.shares import TOLERANCE
from lib.inference.served_model import ServedModel, forecast_panel
from lib.models.config import ModelConfig
from lib.monitoring.alerts import open_incidents
from lib.monitoring.job import run_check
from lib.registry.registry import Registry
from lib.registry.versions import PRODUCTION, STAGING, RegistryError
from lib.settings import ROOT
from lib.storage.database import Store
from lib.storage.tables import (
    REVISION,
    VERSION_TABLE,
    actuals,
    checks,
    corrections,
    explanations,
    predictions,
)
from lib.training.artifact_files import add_metrics
from lib.training.calibration import calibrate
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.export import save_artifact
from lib.training.loop import fit
from serving import create_app
from serving.explanations.explainer import Explainer
from serving.schemas.examples import example_history
from serving.state import state_of
from serving.worker import Worker
from tests.old_registry import unpack, without_new_fields
from tests.panels import TINY_MODEL, split_of

# Raised in MLflow's code.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{warning}")
    for warning in (
        "The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "Operation with range is deprecated:pandas.errors.Pandas4Warning",
    )
]

HORIZON = 3

# Import names of the release that registered the versions, which are in its copy of `lib`.
OLD_CODE = """
import json, sys
import mlflow, numpy as np, pandas as pd
query = json.load(sys.stdin)
models = {v: mlflow.pyfunc.load_model(f"models:/{query['name']}/{v}") for v in ("1", "2")}
answers = {v: m.predict(pd.DataFrame(query["rows"])).to_dict("records") for v, m in models.items()}
import lib.forecaster
from lib.forecaster import Forecaster, forecast_panel
from lib.panel import Panel
kept, start = query["panel"], np.datetime64(query["panel"]["first"], "D")
values, factor, event = (np.array(kept[n], dtype=float) for n in ("values", "factor", "event"))
n = len(values)
panel = Panel(tuple(kept["ids"]), np.array([0, n]), start + np.arange(n), values, factor, event)
forecasts = {
    v: forecast_panel(Forecaster.load(f), panel, np.array(query["origins"])).tolist()
    for v, f in query["folders"].items()
}
print(json.dumps({"lib": lib.__file__, "answers": answers, "forecasts": forecasts}))
"""

# The project is imported first, as in a notebook that then loads a registered model.
PROJECT_FIRST = f"""
import json, sys
import lib
import {ServedModel.__module__}, {Registry.__module__}, {create_app.__module__}
import mlflow, pandas as pd
query = json.load(sys.stdin)
answers = {{}}
for version in query["versions"]:
    model = mlflow.pyfunc.load_model(f"models:/{{query['name']}}/{{version}}")
    answers[version] = model.predict(pd.DataFrame(query["rows"])).to_dict("records")
from {ServedModel.__module__} import ServedModel
forecaster = ServedModel.load(query["folder"])
result = forecaster.predict(*forecaster.background()).tolist()
print(json.dumps({{"lib": lib.__file__, "answers": answers, "project": result}}))
"""

# Nothing of the project is imported, nor can be: what registered a version serves it.
ALONE = """
import json, sys
import mlflow, pandas as pd
query = json.load(sys.stdin)
answers = {}
for version in query["versions"]:
    model = mlflow.pyfunc.load_model(f"models:/{query['name']}/{version}")
    answers[version] = model.predict(pd.DataFrame(query["rows"])).to_dict("records")
print(json.dumps({"answers": answers}))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """An installation that the tests share and do not change."""
    return unpack(tmp_path_factory.mktemp("before") / "var")


@pytest.fixture(scope="module")
def folders(before, tmp_path_factory):
    """The artifact of each version."""
    registry, folder = Registry(before.settings), tmp_path_factory.mktemp("fetched")
    return {str(v): registry.fetch(v, folder / str(v)) for v in (1, 2)}


@pytest.fixture(scope="module")
def old_code(before, folders, tmp_path_factory):
    """Forecasts by the code that was registered with the versions, made now."""
    query = {
        "name": before.settings.registered_model_name,
        "rows": before.expected["pyfunc"]["rows"],
        "panel": before.expected["panel"],
        "origins": before.expected["rows"],
        "folders": {version: str(folder) for version, folder in folders.items()},
    }
    result = in_a_process(OLD_CODE, query, before, tmp_path_factory.mktemp("away"))
    assert result["lib"].startswith(str(before.root))
    return result


@pytest.fixture
def installation(tmp_path):
    """An installation of this test."""
    return unpack(tmp_path / "var")


@pytest.fixture
def store(installation):
    store = Store(installation.settings.database_url)
    yield store
    store.close()


@pytest.fixture
def app(installation):
    app = create_app(installation.settings)
    state = state_of(app)
    state.model.start = lambda: None
    state.model.refresh()
    yield app
    state.recorder.close()
    state.recorder.store.close()


def in_a_process(script, query, old, cwd, **environment):
    """Run a script away from the project: JSON in, JSON out."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    environment["MLFLOW_TRACKING_URI"] = old.settings.mlflow_tracking_uri
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(query),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scores_on(old):
    """The evaluation that both versions went through the gate with."""
    origins = np.array(old.expected["cutoffs"])

    def evaluate(folder, days):
        return compute_metrics(
            run_backtest(ServedModel.load(folder), old.panel, origins, horizon=days)
        )

    return evaluate


def challenge(old, folder):
    """Register an artifact beside the old versions; return its version and the gate's decision."""
    registry, evaluate = Registry(old.settings), scores_on(old)
    metrics = evaluate(folder, HORIZON)
    version = registry.register(
        folder, run_id=registry.log_run(params={}, metrics={}), metrics=metrics
    )
    naive = old.expected["seasonal_naive"]
    return version, registry.gate(version, evaluate=evaluate, seasonal_naive=naive)


def trained(old, folder, steps):
    """An artifact trained now on the data of the old versions."""
    split = split_of(old.panel, HORIZON)
    shape = ModelConfig(
        horizon=HORIZON, hidden=4, decoder_hidden=4, max_context=70, quantiles=(0.1, 0.5, 0.9)
    )
    data = prepare(old.panel, split, shape)
    settings = TrainingConfig(steps=steps, batch_size=8, evaluate_every=20)
    fitted = calibrate(fit(data, shape, settings), data)
    save_artifact(folder, fitted, data, old.panel, split)
    add_metrics(folder, scores_on(old)(folder, HORIZON))
    return folder


def without(document, *names):
    return {key: value for key, value in document.items() if key not in names}


def rows_of(store, *what):
    with store.reading() as connection:
        return connection.execute(sa.select(*what)).all()


# The registry


def test_upgrade_keeps_versions_aliases_decisions_and_history(before):
    registry = Registry(before.settings)
    assert registry.version_of(PRODUCTION) == registry.version_of(STAGING) == 2
    shown, kept = registry.show(), before.expected["show"]
    assert {k: shown[k] for k in kept} == kept
    assert [v["decision"] for v in shown["versions"]] == ["promoted", "promoted"]
    assert "beats production" in shown["versions"][1]["reason"]
    assert [entry["version"] for entry in registry.history()] == [1, 2]


@pytest.mark.parametrize("version", ["1", "2"])
def test_upgrade_keeps_forecasts_to_the_bit(before, folders, old_code, version):
    origins = np.array(before.expected["rows"])
    result = forecast_panel(ServedModel.load(folders[version]), before.panel, origins)
    np.testing.assert_array_equal(result, old_code["forecasts"][version])
    before.assert_same(result, before.expected["forecasts"][version])


def test_upgrade_trains_another_model_that_is_no_worse_and_repeats(before, tmp_path):
    # the schedule of 0.2 is another on purpose, so the bits of 0.1 are not kept
    origins = np.array(before.expected["rows"])
    once, again = (
        forecast_panel(
            ServedModel.load(trained(before, tmp_path / name, steps=300)), before.panel, origins
        )
        for name in ("once", "again")
    )
    np.testing.assert_array_equal(once, again)
    scores = scores_on(before)(tmp_path / "once", HORIZON)
    assert scores["mase"] < 1.05 * before.expected["scores"]["2"]["mase"]


def test_upgrade_lets_the_gate_compare_with_an_old_version(installation):
    version, decision = challenge(installation, TINY_MODEL)
    champion = installation.expected["scores"]["2"]["mase"]
    assert version == 3
    assert not decision.promote
    assert "does not beat production" in decision.reason
    assert decision.figures["champion_version"] == 2
    installation.assert_same(decision.figures["champion"], champion)
    registry = Registry(installation.settings)
    assert (registry.version_of(PRODUCTION), registry.version_of(STAGING)) == (2, 3)


def test_upgrade_lets_a_better_version_replace_an_old_one_and_be_rolled_back(
    installation, tmp_path
):
    version, decision = challenge(installation, trained(installation, tmp_path / "model", 100))
    assert (version, decision.promote) == (3, True), decision
    assert "champion_problem" not in decision.figures
    registry = Registry(installation.settings)
    assert registry.version_of(PRODUCTION) == 3
    assert registry.rollback() == 2
    assert registry.rollback() == 1


def test_upgrade_rolls_back_to_a_version_that_still_forecasts(installation, tmp_path):
    registry = Registry(installation.settings)
    assert registry.rollback() == registry.version_of(PRODUCTION) == 1
    forecaster = ServedModel.load(registry.fetch(PRODUCTION, tmp_path / "model"))
    result = forecast_panel(forecaster, installation.panel, np.array(installation.expected["rows"]))
    installation.assert_same(result, installation.expected["forecasts"]["1"])
    with pytest.raises(RegistryError, match="version 1 is the first"):
        registry.rollback()


# The models as MLflow loads them


def test_old_versions_load_by_their_old_code(before, old_code):
    before.assert_same(old_code["answers"], before.expected["pyfunc"]["answers"])


def test_old_versions_load_beside_the_project(before, folders, old_code, tmp_path):
    query = {
        "name": before.settings.registered_model_name,
        "versions": ["2", "1"],
        "rows": before.expected["pyfunc"]["rows"],
        "folder": str(folders["2"]),
    }
    result = in_a_process(PROJECT_FIRST, query, before, tmp_path, PYTHONPATH=str(ROOT))
    assert result["lib"].startswith(str(ROOT))
    assert result["answers"] == old_code["answers"]
    forecaster = ServedModel.load(folders["2"])
    np.testing.assert_array_equal(result["project"], forecaster.predict(*forecaster.background()))


@pytest.mark.parametrize("versions", [["2", "3"], ["3", "2"]], ids="-then-".join)
@pytest.mark.parametrize("script", [ALONE, PROJECT_FIRST], ids=["alone", "beside the project"])
def test_old_and_new_versions_load_in_one_process(
    installation, folders, old_code, tmp_path, versions, script
):
    challenge(installation, folders["1"])  # forecasts as version 1, registered by the code of today
    query = {
        "name": installation.settings.registered_model_name,
        "versions": versions,
        "rows": installation.expected["pyfunc"]["rows"],
        "folder": str(folders["2"]),
    }
    project = {"PYTHONPATH": str(ROOT)} if script == PROJECT_FIRST else {}
    result = in_a_process(script, query, installation, tmp_path, **project)["answers"]
    assert result == {"2": old_code["answers"]["2"], "3": old_code["answers"]["1"]}


# The service


def test_upgrade_serves_an_old_version(app, installation):
    client, kept = app.test_client(), installation.expected["service"]
    for call in ("predict", "forecast"):
        answer = client.post(f"/{call}", json=kept[call]["body"])
        assert answer.status_code == 200, answer.text
        assert answer.json["model_version"] == 2
        installation.assert_same(
            without(answer.json, "trace_id"), without(kept[call]["answer"], "trace_id")
        )
    card, passing = client.get("/model").json, ("loaded_at",)
    installation.assert_same(without(card, *passing), without(kept["model"]["answer"], *passing))


def test_upgrade_explains_an_old_version(installation):
    kept = installation.expected["service"]
    body = {"sequence": kept["predict"]["body"]["sequence"]}
    result, picture = Explainer(installation.settings)(body, 2)
    installation.assert_same(
        without(result, "additivity_error"),
        without(kept["explanation"]["result"], "additivity_error"),
    )
    assert result["additivity_error"] <= TOLERANCE
    difference = result["output_value"] - result["base_value"]
    for shares in (result["by_feature"], result["by_day"]):
        assert sum(shares.values()) == pytest.approx(difference, rel=TOLERANCE)
    assert picture.startswith(b"\x89PNG")


def test_upgrade_shows_what_was_found_before(app, installation):
    client, kept = app.test_client(), installation.expected["service"]["explanation"]
    answer = client.get(f"/explanations/{kept['explanation_id']}").json
    assert without_new_fields(answer, kept) == kept
    assert client.get(kept["plot"]).data == b"\x89PNG"
    again = client.post("/request-explanation", json={"trace_id": trace_id_of(installation)})
    assert again.json["explanation_id"] == kept["explanation_id"]  # nothing is computed anew
    shown = client.get("/monitoring").json
    assert shown["status"] == "checked"
    assert shown["findings"]["model_version"] == 2


def trace_id_of(old):
    return old.expected["service"]["predict"]["answer"]["trace_id"]


# Its database and its queue


def test_upgrade_takes_an_old_database_over_and_loses_nothing(installation, store):
    with sqlite3.connect(installation.root / "state.db") as connection:
        assert connection.execute("SELECT version_num FROM store_version").fetchone() == ("0002",)
    connection.close()
    predicted, *made = rows_of(store, predictions)
    with store.reading() as connection:
        assert connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")) == REVISION
    kept = installation.expected["service"]
    assert predicted.trace_id == trace_id_of(installation)
    assert json.loads(predicted.body) == kept["predict"]["body"]
    last = kept["forecast"]["answer"]["forecasts"][0]["forecast"]
    assert [str(made[-1].first_date), str(made[-1].last_date)] == [
        last[0]["date"],
        last[-1]["date"],
    ]
    assert [row[1] for row in made[-1].quantiles] == [day["prediction"] for day in last]
    assert {row.model_version for row in made} == {2}
    truths = {row.key: row for row in rows_of(store, actuals)}
    assert truths[f"trace {trace_id_of(installation)}"].value == 101.5
    (replaced,) = rows_of(store, corrections)
    assert truths[replaced.key].corrections == 1
    assert truths[replaced.key].value == replaced.value - 1
    statuses = {row.id: row.status for row in rows_of(store, explanations)}
    assert statuses == {kept["explanation"]["explanation_id"]: "done", kept["waiting"]: "queued"}
    (check,) = rows_of(store, checks)
    assert (check.kind, check.status, check.model_version) == ("report", "alarm", 2)
    assert check.result["day"] == installation.expected["check"]["day"]
    (incident,) = open_incidents(store)
    assert (incident["key"], incident["severity"]) == ("model accuracy", "critical")


def test_upgrade_goes_on_with_the_checks(installation, store):
    change = {"max_mae": 0.001, "monitor_checks": 1, "monitor_silent_days": 30}
    strict = installation.settings.model_copy(update=change)
    before = installation.expected["check"]
    report = run_check(strict, store, day=np.datetime64(before["day"]))
    # Its bounds were too narrow: of the alarms of before, those of limits stay.
    assert list(report.alarms) == [name for name in before["alarms"] if name.endswith(" mae")]
    assert report.alarms
    assert len(rows_of(store, checks)) == 1  # of the same day
    report = run_check(strict, store, day=np.datetime64(before["day"]) + 1)
    first, second = (row.result["accuracy"]["streaks"] for row in rows_of(store, checks))
    assert second == {name: first[name] + 1 for name in second}
    assert second
    (incident,) = open_incidents(store)  # the same
    assert incident["opened_at"] < incident["last_seen"]


def test_upgrade_computes_an_explanation_that_waited(installation, store):
    waiting = installation.expected["service"]["waiting"]
    worker = Worker(installation.settings)
    assert worker.work()
    worker.store.close()
    (row,) = [row for row in rows_of(store, explanations) if row.id == waiting]
    assert (row.status, row.attempts, row.error) == ("done", 1, None)
    assert json.loads(row.body)["horizon_day"] == 2
    assert json.loads(row.body)["history"] == example_history()
    assert abs(row.result["additivity_error"]) <= TOLERANCE
