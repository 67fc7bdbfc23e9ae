"""Eight processes that write at once into the SQLite files of the default settings."""

import os
import subprocess
import sys

import optuna
import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from lib.storage.database import Store

pytestmark = pytest.mark.slow

WRITERS, TIMES = 8, 12
SCRIPTS = {
    "optuna": """
import warnings
warnings.simplefilter("ignore")
from types import SimpleNamespace
from lib.settings import get_settings
from lib.tuning.study import open_study
study = open_study(
    SimpleNamespace(storage=get_settings().optuna_storage, study="s", trial_steps=3))
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range(3):
        trial.report(x, step)
    return x
study.optimize(objective, n_trials=TIMES)
""",
    "store": """
import sqlalchemy as sa
from lib.settings import get_settings
from lib.storage import Store
store = Store(get_settings().database_url)
for i in range(TIMES):
    with store.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS written (pid INTEGER, i INTEGER)")
        connection.execute(sa.text("INSERT INTO written VALUES (:p, :i)"), {"p": PID, "i": i})
store.close()
""",
    "mlflow": """
import warnings
warnings.simplefilter("ignore")
from lib.registry import Registry
registry = Registry()
for i in range(3):
    registry.log_run(params={"i": i}, metrics={"a": 1.0}, history=[{"step": 1, "loss": 0.5}])
""",
}


def write_at_once(script, var):
    """Return the exit codes of the processes, and their stderr."""
    code = f"import os\nTIMES, PID = {TIMES}, os.getpid()\n{SCRIPTS[script]}"
    environment = os.environ | {
        "VAR_DIR": str(var),
        "OPTUNA_STORAGE": f"sqlite:///{var}/optuna.db",
        "DATABASE_URL": f"sqlite:///{var}/state.db",
        "MLFLOW_TRACKING_URI": f"sqlite:///{var}/mlflow.db",
        "MLFLOW_ARTIFACT_ROOT": str(var / "mlartifacts"),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(WRITERS)
    ]
    errors = [process.communicate(timeout=600)[1] for process in processes]
    return [process.returncode for process in processes], "".join(errors)


@pytest.mark.parametrize("script", SCRIPTS)
def test_writers_at_once_find_no_locked_database(script, tmp_path):
    codes, errors = write_at_once(script, tmp_path)
    assert codes == [0] * WRITERS, errors[-3000:]
    assert "locked" not in errors
    if script == "optuna":
        study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/optuna.db")
        assert len(study.trials) == WRITERS * TIMES
        assert [trial.number for trial in study.trials] == list(range(WRITERS * TIMES))
    if script == "store":
        store = Store(f"sqlite:///{tmp_path}/state.db")
        with store.reading() as connection:
            found = connection.execute(sa.text("SELECT count(*) FROM written")).scalar_one()
        store.close()
        assert found == WRITERS * TIMES
