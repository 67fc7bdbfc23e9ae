"""The real thing: gunicorn with two processes, a real registry, and people who ask all the time."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from lib.registry import Registry
from lib.settings import ROOT
from serving.schemas import example_rows
from tests.panels import TINY_MODEL
from tests.serving.live import settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]

BODY = json.dumps({"sequence": example_rows()})


class Crowd:
    """Clients that ask until they are told to stop; `answers` are (status, version), in order."""

    def __init__(self, port, clients=4):
        self.port = port
        self.answers = []
        self.errors = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                self.answers.append((response.status, answer.get("model_version")))
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


def until_ready(port, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            if get(port, "/health/ready")[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < end, "the server is not ready"
        time.sleep(0.1)


@pytest.fixture
def registry(tmp_path):
    registry = Registry(settings_of(tmp_path))
    run = registry.log_run(params={}, metrics={})
    for _ in range(2):
        registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
    registry.promote(1)
    return registry


@pytest.fixture
def server(tmp_path, registry):
    """A started server: its port, its process and its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = registry.settings
    environment = os.environ | {
        "VAR_DIR": str(settings.var_dir),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_ARTIFACT_ROOT": settings.mlflow_artifact_root,
        "DATABASE_URL": settings.database_url,
        "QUEUE_URL": settings.queue_url,
    }
    log = tmp_path / "log"
    command = [sys.executable, "-m", "serving.run", "--port", str(port), "--workers", "2"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--no-worker"], cwd=ROOT, env=environment, stderr=file, stdout=file
        )
        try:
            until_ready(port)
            yield port, process, log
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def test_a_promotion_under_load_fails_no_request_and_a_stop_finishes_them(server, registry):
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
