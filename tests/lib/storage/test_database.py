"""The store on real SQLite files and a real PostgreSQL server."""

import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from lib.storage.database import Store, StoreError, exclusive_transaction, purge, utcnow
from lib.storage.tables import (
    REVISION,
    VERSION_TABLE,
    actuals,
    alerts,
    checks,
    corrections,
    predictions,
)


@pytest.fixture
def sqlite_store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/state.db")
    yield store
    store.close()


def url_of(store):
    return store.url.render_as_string(hide_password=False)


def row(trace_id="t", **other):
    return {
        "trace_id": trace_id,
        "created_at": utcnow(),
        "model_version": 1,
        "levels": [0.5],
        "quantiles": [[1.0]],
    } | other


def count(store):
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(predictions))


def test_store_gives_back_what_was_written(store):
    when = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-3)))
    with store.writing() as connection:
        connection.execute(predictions.insert(), [row(created_at=when, body=b"\xff{}")])
    with store.reading() as connection:
        found = connection.execute(sa.select(predictions)).one()
    assert found.created_at == when
    assert found.created_at.tzinfo is UTC
    assert (found.levels, found.quantiles, found.body) == ([0.5], [[1.0]], b"\xff{}")


def test_store_refuses_a_time_without_zone(store):
    with pytest.raises(StoreError, match="expected a time with a zone"), store.writing() as c:
        c.execute(predictions.insert(), [row(created_at=datetime(2026, 1, 1))])


def test_store_undoes_what_an_exception_interrupts(store):
    def interrupted():
        with store.writing() as connection:
            connection.execute(predictions.insert(), [row()])
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert count(store) == 0


def test_store_is_at_the_current_revision(store):
    with store.reading() as connection:
        found = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))
    assert found == REVISION


@pytest.mark.services
def test_session_is_outside_the_pool_and_commits_each_statement(postgresql_url):
    store = Store(postgresql_url)
    session = store.session()
    session.execute(predictions.insert(), [row()])
    assert count(store) == 1
    store.close()
    assert session.scalar(sa.select(sa.func.count()).select_from(predictions)) == 1
    session.close()


def test_store_uses_write_ahead_log(sqlite_store, tmp_path):
    assert count(sqlite_store) == 0
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_store_refuses_tables_of_a_later_version(store):
    with store.writing() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreError, match=rf"version 9999, .* expects version {REVISION} or earl"):
        count(store)


def test_store_opens_again_after_close(store):
    with store.writing() as connection:
        connection.execute(predictions.insert(), [row()])
    store.close()
    assert count(store) == 1


def test_store_names_the_database_that_cannot_be_opened(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/missing/state.db")
    with pytest.raises(StoreError, match=r"missing/state\.db: OperationalError: unable to open"):
        count(store)


def test_store_never_shows_a_password():
    store = Store("postgresql+psycopg://me:hidden@127.0.0.1:1/db?connect_timeout=1")
    with pytest.raises(StoreError) as caught:
        count(store)
    assert "hidden" not in str(caught.value)


def test_store_error_shows_no_values(store):
    with store.writing() as connection:
        connection.execute(actuals.insert(), [actual_row("k")])
    with (
        pytest.raises(StoreError, match=r"(?i)unique constraint") as caught,
        store.writing() as c,
    ):
        c.execute(actuals.insert(), [actual_row("k")])
    assert "12345" not in str(caught.value)
    assert "(k)" not in str(caught.value)


def actual_row(key):
    return {"key": key, "value": 12345.0, "created_at": utcnow(), "updated_at": utcnow()}


def test_store_gives_up_on_a_locked_database_after_the_busy_time(sqlite_store, tmp_path):
    count(sqlite_store)
    sqlite_store.close()
    hurried = Store(url_of(sqlite_store), busy_seconds=0.1)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"), hurried.writing():
        pass
    other.execute("ROLLBACK")
    other.close()
    with hurried.writing() as connection:
        connection.execute(predictions.insert(), [row()])
    assert count(hurried) == 1
    hurried.close()


def test_store_readers_do_not_wait_for_a_writer(store):
    with store.writing() as connection:
        connection.execute(predictions.insert(), [row()])
        assert count(store) == 0
    assert count(store) == 1


WRITER = """
import sys
import sqlalchemy as sa
from lib.storage import Store, exclusive_transaction, predictions, utcnow
store = Store(sys.argv[1], busy_seconds=20)
for i in range(25):
    with store.writing() as c:
        exclusive_transaction(c)
        # Reads before it writes: the order that fails without an early lock.
        n = c.scalar(sa.select(sa.func.count()).select_from(predictions))
        c.execute(predictions.insert().values(trace_id=f"{sys.argv[2]}-{i}", created_at=utcnow(),
            model_version=n, levels=[], quantiles=[]))
"""


def test_store_takes_eight_processes_that_write_at_once(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url_of(store), str(i)], stderr=subprocess.PIPE
        )
        for i in range(8)
    ]
    errors = [writer.communicate(timeout=60)[1].decode() for writer in writers]
    assert errors == [""] * 8
    assert count(store) == 200
    with store.reading() as connection:  # each saw all before it: none ran beside another
        assert sorted(connection.scalars(sa.select(predictions.c.model_version))) == [*range(200)]


def test_store_is_shared_by_threads(store):
    def work():
        for _ in range(20):
            with store.writing() as connection:
                connection.execute(predictions.insert(), [row()])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(store) == 160


def test_store_reader_sees_one_state_whatever_is_written_meanwhile(store):
    with store.reading() as connection:
        several = sa.select(sa.func.count()).select_from(predictions)
        assert connection.scalar(several) == 0
        with store.writing() as other:
            other.execute(predictions.insert(), [row()])
        assert connection.scalar(several) == 0
    assert count(store) == 1


@pytest.mark.services
def test_store_gives_up_on_a_locked_server_after_the_busy_time(postgresql_url):
    store, hurried = Store(postgresql_url), Store(postgresql_url, busy_seconds=0.1)
    with store.writing() as connection:
        exclusive_transaction(connection)
        with pytest.raises(StoreError, match="lock timeout"), hurried.writing() as other:
            exclusive_transaction(other)
    with hurried.writing() as other:
        exclusive_transaction(other)
    store.close()
    hurried.close()


@pytest.mark.services
def test_store_finds_its_server_again_after_a_lost_connection(postgresql_url):
    store = Store(postgresql_url)
    assert count(store) == 0
    other = sa.create_engine(postgresql_url)
    with other.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()
    assert count(store) == 0
    store.close()


def aged(**days):
    """Return by name a time so many days ago."""
    return {name: utcnow() - timedelta(days=n) for name, n in days.items()}


def test_purge_deletes_older_rows_in_batches_and_keeps_actuals_and_open_alerts(store):
    at = aged(old=31, new=29)
    incident = {"severity": "warning", "title": "", "message": "", "deliveries": {}}
    with store.writing() as connection:
        for name, when in at.items():
            rows = [row(name, created_at=when)] * 600  # more than one batch
            connection.execute(predictions.insert(), rows)
            made = {"kind": name, "made_at": when, "status": "ok", "result": {}}
            connection.execute(checks.insert(), [made])
            times = {"opened_at": when, "last_seen": when}
            ended = incident | times | {"key": name, "ended_at": when}
            still = incident | times | {"key": f"open {name}", "ended_at": None}
            connection.execute(alerts.insert(), [ended, still])
            corrected = {"key": name, "value": 1.0, "replaced_at": when}
            connection.execute(corrections.insert(), [corrected])
        connection.execute(actuals.insert(), [actual_row("k") | {"updated_at": at["old"]}])
    assert purge(store, 0) == {}
    gone = {"predictions": 600, "checks": 1, "alerts": 1, "corrections": 1}
    assert purge(store, 30) == gone
    assert purge(store, 30) == dict.fromkeys(gone, 0)
    with store.reading() as connection:
        assert set(connection.scalars(sa.select(predictions.c.trace_id))) == {"new"}
        found = connection.scalars(sa.select(alerts.c.key).order_by(alerts.c.key)).all()
        assert found == ["new", "open new", "open old"]
        assert connection.scalars(sa.select(actuals.c.key)).all() == ["k"]
