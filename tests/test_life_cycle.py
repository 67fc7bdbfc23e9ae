"""The whole life cycle on servers: PostgreSQL for all tables, Redis for the queue, MLflow by HTTP.

Tuning by four workers, training, the gate, two API processes, an explanation, the truth coming in.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import optuna
import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from serving.schemas import example_rows
from tests import services
from tests.serving.test_run import free_port, until_ready

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture
def environment(tmp_path, postgresql, postgresql_url, redis_url):
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
            "QUEUE_URL": redis_url,
            "OMP_NUM_THREADS": "1",
        }


@contextmanager
def api(environment, log):
    port = free_port()
    command = [sys.executable, "-m", "serving.run", "--port", str(port), "--workers", "2"]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file, stdout=file)
        try:
            until_ready(port, 180)
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
    storage.remove_session()
    storage.engine.dispose()
    assert (len(finished), len(running)) == (6, 0)

    log = tmp_path / "api.log"
    with api(environment, log) as port:
        body = {"sequence": example_rows()}
        status, forecast = call(port, "POST", "/predict", body)
        assert (status, forecast["model_version"]) == (200, 1), log.read_text()
        status, queued = call(
            port, "POST", "/request-explanation", {"trace_id": forecast["trace_id"]}
        )
        if status == 404:  # written by the other process, in the background
            time.sleep(3)
            status, queued = call(
                port, "POST", "/request-explanation", {"trace_id": forecast["trace_id"]}
            )
        assert status == 202, queued
        end = time.monotonic() + 240
        while True:
            status, found = call(port, "GET", f"/explanations/{queued['explanation_id']}")
            if found["status"] not in ("queued", "running"):
                break
            assert time.monotonic() < end, found
            time.sleep(0.5)
        assert found["status"] == "done", found
    text = log.read_text()
    assert "locked" not in text
    assert '"level": "error"' not in text
    assert not list((tmp_path / "var").glob("*.db"))  # no store of a file was made
