"""The store on real SQLite files."""

import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from lib.store import SCHEMA_VERSION, Store, StoreError, actuals, predictions, schema, utcnow


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/state.db")
    yield store
    store.close()


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


def test_store_uses_write_ahead_log_and_says_its_version(store, tmp_path):
    with store.reading() as connection:
        assert connection.scalar(sa.select(schema.c.version)) == SCHEMA_VERSION
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_store_refuses_tables_of_another_version(store):
    with store.writing() as connection:
        connection.execute(schema.update().values(version=SCHEMA_VERSION + 1))
    store.close()
    with pytest.raises(StoreError, match=r"version 2, this program expects version 1: use the"):
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
        connection.execute(actuals.insert(), [truth("k")])
    with (
        pytest.raises(StoreError, match="UNIQUE constraint failed") as caught,
        store.writing() as c,
    ):
        c.execute(actuals.insert(), [truth("k")])
    assert "12345" not in str(caught.value)


def truth(key):
    return {"key": key, "value": 12345.0, "created_at": utcnow(), "updated_at": utcnow()}


def test_store_gives_up_on_a_locked_database_after_the_busy_time(store, tmp_path):
    count(store)
    store.close()
    hurried = Store(str(store.url), busy_seconds=0.1)
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
from lib.store import *
import sqlalchemy as sa
store = Store(sys.argv[1], busy_seconds=20)
for i in range(25):
    with store.writing() as c:
        # Reads before it writes: the order that fails without an early lock.
        n = c.scalar(sa.select(sa.func.count()).select_from(predictions))
        c.execute(predictions.insert().values(trace_id=f"{sys.argv[2]}-{i}", created_at=utcnow(),
            model_version=n, levels=[], quantiles=[]))
"""


def test_store_takes_eight_processes_that_write_at_once(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.url), str(i)], stderr=subprocess.PIPE
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
