"""Databases of earlier programs, migrated to the tables of this one."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

import lib.storage.migrations
from lib.settings import ROOT
from lib.storage.database import Store, StoreError, utcnow
from lib.storage.tables import (
    REVISION,
    VERSION_TABLE,
    actuals,
    checks,
    explanations,
    metadata,
    predictions,
)

# Made by the program of version 1, before there were migrations.
FIRST = ROOT / "tests" / "data" / "state_v1.db"
SCRIPTS = ScriptDirectory(str(Path(lib.storage.migrations.__file__).parent))


@pytest.fixture
def first(tmp_path):
    """A copy of the file of version 1."""
    store = Store(f"sqlite:///{shutil.copy(FIRST, tmp_path / 'state.db')}")
    yield store
    store.close()


def url_of(store):
    return store.url.render_as_string(hide_password=False)


def version(store):
    with store.reading() as connection:
        return connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))


def test_migrations_end_at_the_revision_the_program_expects():
    assert SCRIPTS.get_heads() == [REVISION]


def test_migrations_make_the_tables_the_program_expects(store):
    with store.reading() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    assert version(store) == REVISION


def test_migrations_take_a_file_of_version_1_over_and_lose_nothing(first):
    with first.reading() as connection:
        request, forecast = connection.execute(sa.select(predictions).order_by("id")).all()
        truths = connection.execute(sa.select(actuals).order_by("key")).all()
        done, queued = connection.execute(
            sa.select(explanations).order_by(explanations.c.status)
        ).all()
        names = sa.inspect(connection).get_table_names()
    assert (request.trace_id, request.body, request.features) == ("p", b'{"sequence": []}', None)
    assert (forecast.series_id, forecast.quantiles) == ("shop 1", [[1.0, 2.0, 3.0]] * 2)
    assert [(t.key, t.value) for t in truths] == [("day 2026-01-31 shop 1", 2.5), ("trace p", 1.5)]
    assert (done.result, done.plot, queued.status) == ({"base_value": 1.0}, b"\x89PNG", "queued")
    assert {*metadata.tables, VERSION_TABLE} == {*names}
    assert version(first) == REVISION
    with first.writing() as connection:
        made = {"made_at": utcnow(), "kind": "drift", "status": "ok", "result": {"p": [0.5]}}
        connection.execute(checks.insert(), [made])
    first.close()
    assert version(first) == REVISION  # opened again, there is nothing to do


@pytest.mark.services
def test_migrations_take_a_server_of_version_1_over(postgresql_url):
    engine = sa.create_engine(postgresql_url)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        SCRIPTS.get_revision("0001").module.upgrade(Operations(context))
        connection.execute(sa.text("INSERT INTO schema_version VALUES (1)"))
        connection.execute(
            actuals.insert().values(key="k", value=2.5, created_at=utcnow(), updated_at=utcnow())
        )
    engine.dispose()
    store = Store(postgresql_url)
    assert version(store) == REVISION
    with store.reading() as connection:
        assert connection.scalar(sa.select(actuals.c.value)) == 2.5
    store.close()


OPENER = """
import sys
import sqlalchemy as sa
from lib.storage import Store, predictions, utcnow
store = Store(sys.argv[1], busy_seconds=30)
with store.writing() as c:
    c.execute(predictions.insert().values(trace_id="x", created_at=utcnow(), model_version=1,
        levels=[], quantiles=[], features=[1.0]))
"""


def opened_by(store, count):
    """Return the stderr of each of several processes that open a database at once."""
    command = [sys.executable, "-c", OPENER, url_of(store)]
    all_of_them = [
        subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) for _ in range(count)
    ]
    return [one.communicate(timeout=60)[1].decode() for one in all_of_them]


def counted(store):
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(predictions))


def test_migrations_are_made_once_by_processes_that_start_at_once(store):
    assert opened_by(store, 6) == [""] * 6
    assert (counted(store), version(store)) == (6, REVISION)


def test_migrations_of_an_old_file_are_made_once_by_processes_that_start_at_once(first):
    assert opened_by(first, 6) == [""] * 6
    assert (counted(first), version(first)) == (2 + 6, REVISION)


def test_migrations_cut_off_leave_the_database_as_it_was(first, monkeypatch):
    def cut_off(self, name):
        raise OperationalError("DROP", {}, Exception("killed"))

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "drop_table", cut_off)  # the end of the last migration
        with pytest.raises(StoreError, match="killed"):
            counted(first)
    with sqlite3.connect(first.url.database) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (1,)
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert not {"alerts", VERSION_TABLE} & names
    connection.close()
    assert counted(first) == 2
    assert version(first) == REVISION


def test_migrations_refuse_tables_that_call_themselves_something_else(first):
    with sqlite3.connect(first.url.database) as connection:
        connection.execute("UPDATE schema_version SET version = 7")
    connection.close()
    with pytest.raises(StoreError, match=r"version 7, .* use the program that made them, or"):
        counted(first)


def test_migrations_leave_what_others_keep_in_the_database(store):
    engine = sa.create_engine(url_of(store))
    with engine.begin() as connection:
        # As MLflow's or Optuna's would be.
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('theirs')"))
    engine.dispose()
    assert version(store) == REVISION
    with store.reading() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "theirs"


def test_opening_a_database_that_is_current_imports_no_alembic(tmp_path):
    url = f"sqlite:///{tmp_path}/state.db"
    code = f"""
import sys
from lib.storage import Store
with Store({url!r}).reading():
    print("alembic" in sys.modules)
"""
    for output in ("True\n", "False\n"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout == output
