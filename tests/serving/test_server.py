"""A real gunicorn with two processes on a real registry, under load."""

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from lib.registry.registry import Registry
from lib.settings import ROOT
from serving import supervised_process
from serving.schemas.examples import example_rows
from tests.panels import TINY_MODEL
from tests.ports import free_port
from tests.serving.live import settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]

BODY = json.dumps({"sequence": example_rows()})
DAYS = np.arange("2025-01-01", "2025-04-01", dtype="datetime64[D]")


class Crowd:
    """Clients that send requests until the block ends; `answers` are (status, version) in order."""

    def __init__(self, port, clients=4, calls=(("/predict", BODY),), pause=0.0):
        self.port = port
        self.calls = calls
        self.pause = pause
        self.answers = []
        self.errors = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _send(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for path, body in itertools.cycle(self.calls):
            if self._stop.wait(self.pause):
                break
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read()
                answer = json.loads(text)
                self.answers.append((response.status, answer.get("model_version")))
            except json.JSONDecodeError:  # a balancer's page
                self.errors.append(f"{response.status} {text[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()
                time.sleep(0.05)
        connection.close()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def until_ready(port, process=None, log=None):
    end = time.monotonic() + 180
    while True:
        try:
            if get(port, "/health/ready")[0] == 200:
                return
        except OSError:
            pass
        is_dead = process is not None and process.poll() is not None
        if is_dead or time.monotonic() > end:
            said = log.read_text()[-2000:] if log is not None else ""
            raise AssertionError(f"the server {'has ended' if is_dead else 'is not ready'}: {said}")
        time.sleep(0.1)


@pytest.fixture
def registry(tmp_path):
    registry = Registry(settings_of(tmp_path))
    run = registry.log_run(params={}, metrics={})
    for _ in range(2):
        registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
    registry.promote(1)
    return registry


@contextmanager
def served(settings, log, *options, port=None):
    """A started API: its port and its process."""
    port = port or free_port()
    environment = os.environ | {
        "VAR_DIR": str(settings.var_dir),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_ARTIFACT_ROOT": settings.mlflow_artifact_root,
        "DATABASE_URL": settings.database_url,
    }
    command = [sys.executable, "-m", "serving.server", "--port", str(port), "--workers", "2"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, *options], cwd=ROOT, env=environment, stderr=file, stdout=file
        )
        try:
            until_ready(port, process, log)
            yield port, process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def server(tmp_path, registry):
    """A started server without a worker: its port, its process and its log."""
    log = tmp_path / "log"
    with served(registry.settings, log, "--no-worker") as (port, process):
        yield port, process, log


def test_server_fails_no_request_in_a_promotion_and_finishes_them_when_it_stops(server, registry):
    port, process, log = server
    with Crowd(port) as crowd:
        time.sleep(1)
        registry.promote(2)
        promoted = time.monotonic()
        # Of both processes, so the last answers must all be of the new version.
        while {version for _, version in crowd.answers[-40:]} != {2}:
            assert time.monotonic() < promoted + 12, "the promotion is not served"
            time.sleep(0.1)
        time.sleep(0.5)
    assert not crowd.errors
    assert {status for status, _ in crowd.answers} == {200}
    assert {version for _, version in crowd.answers} == {1, 2}
    metrics = get(port, "/metrics")[1]
    counted = 'http_requests_total{endpoint="/predict",method="POST",status="200"}'
    assert f"{counted} {len(crowd.answers)}.0" in metrics
    with Crowd(port) as last:
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert {status for status, _ in last.answers} == {200}
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
    # Who came late found the door closed, but all that was worked on was received.
    worked_on = [line for line in lines if line.get("path") == "/predict"]
    assert len(worked_on) == len(crowd.answers) + len(last.answers)


def test_server_replaces_a_process_that_ends(server):
    port, process, _ = server
    first, other = psutil.Process(process.pid).children()
    first.terminate()
    first.wait(30)
    deadline = time.monotonic() + 30
    while len(found := psutil.Process(process.pid).children()) < 2 or other not in found:
        assert time.monotonic() < deadline, "no process has taken its place"
        time.sleep(0.1)
    # Those that start find the folder of the metrics where it was.
    other.terminate()
    other.wait(30)
    until_ready(port)
    with Crowd(port) as crowd:
        time.sleep(1)
    assert {status for status, _ in crowd.answers} == {200}
    assert process.poll() is None
    assert get(port, "/metrics")[0] == 200


class Mlflow:
    """A real MLflow server on a file, that can be stopped and started again on its port."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1", "--no-serve-artifacts"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/served.db"]
        command += ["--default-artifact-root", str(self.folder / "served")]
        with (self.folder / "mlflow.log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while True:
            try:
                assert get(self.port, "/health")[0] == 200
                return
            except OSError:
                assert time.monotonic() < end, "MLflow does not answer"
                time.sleep(0.2)

    def stop(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def weight(process):
    """Megabytes that a server and its processes do not share with others."""
    everyone = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().uss for one in everyone) / 1e6


def test_server_survives_promotions_and_a_registry_that_is_away(tmp_path):
    mlflow = Mlflow(tmp_path)
    mlflow.start()
    try:
        settings = settings_of(
            tmp_path,
            mlflow_tracking_uri=f"http://127.0.0.1:{mlflow.port}",
            mlflow_artifact_root=str(tmp_path / "served"),
        )
        registry = Registry(settings)
        run = registry.log_run(params={}, metrics={})
        for _ in range(3):
            registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
        registry.promote(1)
        days = [{"date": str(d), "value": float(10 + i % 7)} for i, d in enumerate(DAYS)]
        calls = [
            ("/predict", BODY),
            ("/forecast", json.dumps({"history": days})),
            ("/predict", BODY),
            ("/request-explanation", BODY),
        ]
        with served(settings, tmp_path / "log") as (port, process):
            root = psutil.Process(process.pid)
            with Crowd(port, clients=3, calls=calls, pause=0.005) as crowd:
                begun = time.monotonic()
                weights = {}

                def until(second):
                    time.sleep(max(0.0, begun + second - time.monotonic()))
                    weights[second] = weight(root)

                until(40)
                registry.promote(2)
                until(60)
                mlflow.stop()
                until(90)
                mlflow.start()
                until(110)
                registry.promote(3)
                until(130)
                until(180)
    finally:
        mlflow.stop()
    assert not crowd.errors
    assert {status for status, _ in crowd.answers} <= {200, 202}
    versions = [version for _, version in crowd.answers if version is not None]
    assert versions[0] == 1
    assert set(versions) == {1, 2, 3}
    assert len(versions) > 500
    # After the last promotion nothing is left to load: what still grows is a leak.
    assert weights[180] < 1.05 * weights[130], weights
    assert weights[180] < 1.25 * weights[40], weights


def test_supervised_process_is_restarted_when_it_ends(monkeypatch):
    monkeypatch.setattr(supervised_process, "_PAUSES", (0.05, 0.1))
    beside = supervised_process.SupervisedProcess(
        [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    with beside.running():
        first = beside.process
        assert first is not None
        assert os.getpgid(first.pid) != os.getpgrp()  # or Ctrl-C would catch it in its imports
        first.kill()
        until = time.monotonic() + 20
        while beside.process is first:
            assert time.monotonic() < until
            time.sleep(0.05)
        second = beside.process
        assert second is not None
        assert second.poll() is None
    assert second.poll() is not None
