"""The monitoring and the API as processes with a folder each, as in the compose file."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from lib.registry.registry import Registry
from lib.settings import ROOT, get_settings
from lib.storage.database import Store
from tests.lib.monitoring.served_days import write_forecasts
from tests.lib.monitoring.test_report import DAY
from tests.panels import TINY_MODEL
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.filterwarnings(f"ignore:{warning}")  # of MLflow's own code
        for warning in (
            "The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
            "Operation with range is deprecated:pandas.errors.Pandas4Warning",
        )
    ),
]


@contextmanager
def api(environment):
    """Yield the URL of the API, once it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "serving.server", "--port", str(port), "--no-worker"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health/ready", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_api_shows_what_a_monitor_on_another_volume_found(tmp_path, database_url):
    shared = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "mlartifacts"),
        "DATABASE_URL": database_url,
        "LOG_LEVEL": "WARNING",
        "MAX_MAE": "20",
    }
    places = {name.lower(): shared[name] for name in list(shared)[:3]}
    registry = Registry(get_settings(None).model_copy(update=places))
    version = registry.register(
        TINY_MODEL, run_id=registry.log_run(params={}, metrics={}), metrics={}
    )
    registry.promote(version)
    store = Store(database_url)
    write_forecasts(store, error=60.0)
    store.close()
    environments = [
        os.environ | shared | {"VAR_DIR": str(tmp_path / volume)} for volume in ("api", "monitor")
    ]
    with api(environments[0]) as url:
        assert json.loads(get(f"{url}/monitoring"))["status"] == "never checked"
        for n in (2, 1, 0):
            command = [sys.executable, "-m", "lib.pipeline.check", "--day", str(DAY - n)]
            subprocess.run(command, check=True, cwd=ROOT, env=environments[1], capture_output=True)
        shown = json.loads(get(f"{url}/monitoring"))
    assert not (tmp_path / "api" / "monitoring").exists()
    assert (tmp_path / "monitor" / "monitoring" / "latest.json").is_file()
    assert shown["findings"]["status"] == "alarm"
    assert [alert["severity"] for alert in shown["findings"]["alerts"]] == ["critical"]
