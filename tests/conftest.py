"""Keeps the tests apart from the user's settings and stores, and to one thread."""

import os

# Read by torch and BLAS when they are imported, so it must be set before any test module is.
os.environ["OMP_NUM_THREADS"] = "1"

from itertools import count

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import settings as hypothesis_settings

from tests import services

# A busy machine is no fault of what is tested.
hypothesis_settings.register_profile("here", deadline=None)
hypothesis_settings.load_profile("here")

_SERVER = pytest.param("postgresql", marks=pytest.mark.services)


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
        yield


@pytest.fixture(autouse=True)
def fresh_logging():
    """Forget a configured log: it would go to the closed stderr of an earlier test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgresql():
    """A real server of this session: `…/` to which a database's name belongs."""
    with services.postgresql() as url:
        yield url


_numbers = count()


@pytest.fixture
def postgresql_url(postgresql):
    """An empty database of this test."""
    name = f"test_{next(_numbers)}"
    server = sa.create_engine(f"{postgresql}postgres", isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    server.dispose()
    return f"{postgresql}{name}"


@pytest.fixture(params=["sqlite", _SERVER])
def database_url(request, tmp_path):
    """An empty database of this test: once in a SQLite file, once on a PostgreSQL server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return request.getfixturevalue("postgresql_url")
