"""The whole life cycle on servers: PostgreSQL for all tables and the queue, MLflow by HTTP.

Tuning by four workers, training, the gate, two API processes, an explanation, the truth coming in,
and a check of the monitoring that the API then shows.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import optuna
import pandas as pd
import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from lib.storage.database import Store
from lib.storage.tables import checks
from serving.schemas.examples import example_rows
from tests import services
from tests.ports import free_port
from tests.serving.test_server import until_ready

pytestmark = [pytest.mark.slow, pytest.mark.services]

DAYS = 21  # that are forecast, come true and are checked
CONTEXT = 175  # days of history sent


@pytest.fixture
def environment(tmp_path, postgresql, postgresql_url):
    """Variables of an installation that keeps nothing in a file but artifacts and caches."""
    urls = []
    server = sa.create_engine(f"{postgresql}postgres", isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        for name in ("mlflow", "optuna"):
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}_life")
            connection.exec_driver_sql(f"CREATE DATABASE {name}_life")
            urls.append(f"{postgresql}{name}_life")
    server.dispose()
    with services.mlflow(urls[0], tmp_path / "artifacts") as tracking:
        yield os.environ | {
            "VAR_DIR": str(tmp_path / "var"),
            "MLFLOW_TRACKING_URI": tracking,
            "MLFLOW_ARTIFACT_ROOT": "",
            "OPTUNA_STORAGE": urls[1],
            "DATABASE_URL": postgresql_url,
            "OMP_NUM_THREADS": "1",
        }


@contextmanager
def api(environment, log):
    port = free_port()
    command = [sys.executable, "-m", "serving.server", "--port", str(port), "--workers", "2"]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file, stdout=file)
        try:
            until_ready(port, process, log)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def call(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, body and json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def rows_of(table, columns):
    """As JSON: days as text, null where missing."""
    return json.loads(
        table[columns].assign(date=table["date"].dt.strftime("%F")).to_json(orient="records")
    )


def until_answered(ask, wanted, seconds=240):
    """The first answer that is wanted: processes of the server write in the background."""
    end = time.monotonic() + seconds
    while not wanted(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.5)
    return answer


def explained(port, trace_id):
    body = {"trace_id": trace_id}
    status, queued = until_answered(
        lambda: call(port, "POST", "/request-explanation", body), lambda got: got[0] != 404
    )
    assert status == 202, queued
    path = f"/explanations/{queued['explanation_id']}"
    _, found = until_answered(
        lambda: call(port, "GET", path), lambda got: got[1]["status"] not in ("queued", "running")
    )
    return found


def comes_true(port, table):
    """Forecast the last days of every series from the evening before them, then tell the truth."""
    future = table[table["date"] > table["date"].max() - pd.Timedelta(days=DAYS)]
    past = table.drop(future.index)
    columns = ["date", "value", "fator_externo", "evento_especial"]
    series = [
        {"series_id": name, "history": rows_of(rows.tail(CONTEXT), columns)}
        for name, rows in past.groupby("series_id")
    ]
    status, answer = call(port, "POST", "/forecast", {"series": series, "horizon": DAYS})
    assert (status, len(answer["forecasts"])) == (200, len(series)), answer
    truth = rows_of(future[future["value"].notna()], ["series_id", "date", "value"])
    _, kept = until_answered(
        lambda: call(port, "POST", "/actuals", {"actuals": truth}),
        lambda got: got[0] != 200 or got[1]["unmatched"] == 0,
    )
    assert kept["added"] + kept["unchanged"] == len(truth), kept
    medians = {
        (one["series_id"], day["date"]): day["prediction"]
        for one in answer["forecasts"]
        for day in one["forecast"]
    }
    return [medians[row["series_id"], row["date"]] - row["value"] for row in truth]


def checked(environment):
    """Return the report of `python -m lib.pipeline.check`."""
    command = [sys.executable, "-m", "lib.pipeline.check"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_life_cycle_runs_on_servers_alone(environment, tmp_path):
    command = [sys.executable, "-m", "lib.pipeline", "train", "--profile", "ci"]
    command += ["--run-dir", str(tmp_path / "run"), "N_TRIALS=6", "WORKERS=4"]
    trained = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert trained.returncode == 0, trained.stderr[-4000:]
    outcome = json.loads((tmp_path / "run" / "mlflow.json").read_text())
    assert (outcome["version"], outcome["promoted"]) == (1, True)

    storage = optuna.storages.RDBStorage(environment["OPTUNA_STORAGE"])
    (summary,) = optuna.get_all_study_summaries(storage)
    study = optuna.load_study(study_name=summary.study_name, storage=storage)
    states = optuna.trial.TrialState
    finished = study.get_trials(states=(states.COMPLETE, states.PRUNED))
    running = study.get_trials(states=(states.RUNNING,))
    workers = {tuple(trial.user_attrs["worker"]) for trial in finished}
    storage.remove_session()
    storage.engine.dispose()
    assert (len(finished), len(running)) == (6, 0)
    assert 1 < len(workers) <= 4

    log = tmp_path / "api.log"
    with api(environment, log) as port:
        body = {"sequence": example_rows()}
        status, forecast = call(port, "POST", "/predict", body)
        assert (status, forecast["model_version"]) == (200, 1), log.read_text()
        assert explained(port, forecast["trace_id"])["status"] == "done"

        table = pd.read_parquet(tmp_path / "run" / "series.parquet")
        errors = comes_true(port, table)
        report = checked(environment)
        scored = [score for score in report["accuracy"]["scores"] if score["forecasts"]]
        assert sum(score["forecasts"] for score in scored) == len(errors)
        status, shown = call(port, "GET", "/monitoring")
        assert (status, shown["status"]) == (200, "checked"), shown
        assert shown["findings"]["model_version"] == 1
    store = Store(environment["DATABASE_URL"])
    with store.reading() as connection:
        kept = connection.execute(sa.select(checks.c.kind, checks.c.model_version)).all()
    store.close()
    assert [tuple(row) for row in kept] == [("report", 1)]
    text = log.read_text()
    assert "locked" not in text
    assert '"level": "error"' not in text
    assert not list((tmp_path / "var").glob("*.db"))  # no store of a file was made
