"""Keeps the tests apart from the user's settings and stores, and to one thread."""

import os

# Read by torch and BLAS when they are imported, so it must be set before any test module is.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import structlog


@pytest.fixture(scope="session", autouse=True)
def isolated_settings(tmp_path_factory):
    """Point every store at a folder of this session, whatever the environment or .env says."""
    var = tmp_path_factory.mktemp("var")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAR_DIR", str(var))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{var}/mlflow.db")
        patch.setenv("MLFLOW_ARTIFACT_ROOT", str(var / "mlartifacts"))
        patch.setenv("OPTUNA_STORAGE", f"sqlite:///{var}/optuna.db")
        patch.setenv("DATABASE_URL", f"sqlite:///{var}/state.db")
        patch.setenv("QUEUE_URL", f"sqlite:///{var}/queue.db")
        yield


@pytest.fixture(autouse=True)
def fresh_logging():
    """Forget a configured log: it would go to the closed stderr of an earlier test."""
    yield
    structlog.reset_defaults()
