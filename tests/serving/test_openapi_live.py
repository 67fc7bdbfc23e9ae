"""Every call of a live server, by what schemathesis makes up from its description.

Longer, by hand: `schemathesis run http://127.0.0.1:8000/openapi.json --max-time 600`, with the
options below.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    f"--header=X-API-Key: {KEY}",
]


def test_live_server_keeps_to_its_description(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("API_KEYS", KEY)
    monkeypatch.setenv("RATE_LIMIT_ROWS", "0")
    command = [Path(sys.executable).with_name("schemathesis"), "run", *OPTIONS]
    with served(registry.settings, tmp_path / "log", "--no-worker") as (port, process):
        done = subprocess.run(
            [*command, f"--max-time={SECONDS}", f"http://127.0.0.1:{port}/openapi.json"],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        assert process.poll() is None
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
