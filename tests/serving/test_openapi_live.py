"""Every call of a live server, by what schemathesis makes up from its description.

Longer, by hand: `schemathesis run http://127.0.0.1:8000/openapi.json --max-time 600`, with the
options below.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.schemas.examples import example_rows
from tests.serving.test_server import registry, served

__all__ = ["registry"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]
KEY = "a key that nobody guesses"
SECONDS = 40
OPTIONS = [
    # A description cannot say which bodies make sense together, such as days in their order.
    "--exclude-checks=positive_data_acceptance",
    "--checks=all",
    "--phases=examples,coverage,fuzzing,stateful",
    "--continue-on-failure",
    "--suppress-health-check=all",
    "--generation-deterministic",
    "--request-timeout=60",
    f"--header=X-API-Key: {KEY}",
]


def until_worker(port, seconds=120):
    """Wait for the worker, without which explanations are refused."""
    end = time.monotonic() + seconds
    body = json.dumps({"sequence": example_rows()})
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/request-explanation", body, headers)
        status = connection.getresponse().status
        connection.close()
        if status == 202:
            return
        time.sleep(0.5)
    pytest.fail(f"no worker: an explanation is answered with {status}")


def test_live_server_keeps_to_its_description(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("API_KEYS", KEY)
    # What is refused for being too much is no fault: 503 is a server error here.
    monkeypatch.setenv("RATE_LIMIT_ROWS", "0")
    monkeypatch.setenv("EXPLANATION_QUEUE_MAX", "100000")
    command = [Path(sys.executable).with_name("schemathesis"), "run", *OPTIONS]
    with served(registry.settings, tmp_path / "log") as (port, process):
        until_worker(port)
        done = subprocess.run(
            [*command, f"--max-time={SECONDS}", f"http://127.0.0.1:{port}/openapi.json"],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        assert process.poll() is None
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
