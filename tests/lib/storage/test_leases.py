"""Leases between real processes, on real databases."""

import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from lib.storage import leases as leases_module
from lib.storage.database import Store, StoreError, utcnow
from lib.storage.leases import Lease, held
from lib.storage.presence import is_present, show_presence
from lib.storage.tables import leases


@pytest.fixture
def lease_of(store):
    """Make leases that are released at the end of the test."""
    made = []

    def make(name):
        made.append(Lease(store, name))
        return made[-1]

    yield make
    for lease in made:
        lease.release()


def url_of(store):
    return store.url.render_as_string(hide_password=False)


def test_lease_has_one_holder(lease_of):
    first, second = lease_of("x"), lease_of("x")
    assert first.acquire()
    assert not second.acquire()
    assert lease_of("y").acquire()
    first.release()
    assert second.acquire()
    first.release()  # held by another: without effect
    assert not first.acquire()


def test_lease_acquired_by_many_threads_has_one_holder(store, lease_of):
    Store(url_of(store)).close()
    taken = []

    def work():
        lease = lease_of("x")
        if lease.acquire():
            taken.append(lease)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_lease_taken_since_then_is_not_given_again(lease_of):
    minute = utcnow() - timedelta(minutes=1)
    first = lease_of("x")
    assert first.acquire(unless_since=minute)
    first.release()
    assert not lease_of("x").acquire(unless_since=minute)
    assert lease_of("x").acquire(unless_since=utcnow() + timedelta(minutes=1))


def test_lease_taken_before_the_clock_was_set_back_is_given_again(store, lease_of):
    first = lease_of("x")
    assert first.acquire()
    first.release()
    with store.writing() as connection:
        connection.execute(leases.update().values(taken_at=utcnow() + timedelta(days=365)))
    minute = utcnow() - timedelta(minutes=1)
    assert lease_of("x").acquire(unless_since=minute)


def test_process_that_showed_itself_before_the_clock_was_set_back_is_not_present(store):
    later = {"taken_at": utcnow() + timedelta(days=365), "until": utcnow() + timedelta(days=366)}
    for change, is_there in (({}, True), (later, False)):
        show_presence(store, "x", "process", seconds=30)
        with store.writing() as connection:
            if change:
                connection.execute(leases.update().values(**change))
            assert is_present(connection, "x") is is_there


def test_lease_records_who_took_it_last(store, lease_of):
    before = utcnow() - timedelta(seconds=5)
    assert lease_of("x").acquire()
    with store.reading() as connection:
        row = connection.execute(sa.select(leases)).one()
    assert row.name == "x"
    assert str(row.owner).count(":") == 3
    assert before <= row.taken_at <= utcnow() + timedelta(seconds=5)


HOLDER = """
import sys, time
from lib.storage.database import Store
from lib.storage.leases import Lease
lease = Lease(Store(sys.argv[1]), "x")
assert lease.acquire()
print("taken", flush=True)
time.sleep(60)
"""


def test_lease_of_a_killed_process_is_free_at_once(store, lease_of):
    command = [sys.executable, "-c", HOLDER, url_of(store)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"taken\n"
    lease = lease_of("x")
    assert not lease.acquire()
    holder.send_signal(signal.SIGSTOP)
    assert not lease.acquire()  # it lives, and may go on
    holder.kill()
    holder.communicate()
    until = time.monotonic() + 5  # a server notices a moment later
    while not lease.acquire():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_held_keeps_a_lease_for_the_block_and_frees_it(store, monkeypatch):
    monkeypatch.setattr(leases_module, "_PROBE_SECONDS", 0.1)
    with held(store, "x") as lease:
        assert lease is not None
        time.sleep(0.5)  # several probes of the connection
        with held(store, "x") as other:
            assert other is None
        assert not lease.lost.is_set()
    with held(store, "x") as other:
        assert other is not None


def test_held_frees_its_lease_after_an_exception(store):
    with pytest.raises(KeyError), held(store, "x"):
        raise KeyError
    with held(store, "x") as lease:
        assert lease is not None


@pytest.mark.services
def test_held_notices_that_its_connection_is_lost(postgresql_url, monkeypatch):
    monkeypatch.setattr(leases_module, "_PROBE_SECONDS", 0.1)
    store = Store(postgresql_url)
    ended = sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    with held(store, "x") as lease:
        assert lease is not None
        with store.writing() as connection:
            connection.execute(ended)
        assert lease.lost.wait(10)
        with held(store, "x") as other:
            assert other is not None
    store.close()


def test_lease_of_a_database_that_is_away_is_an_error(tmp_path):
    lease = Lease(Store(f"sqlite:///{tmp_path}/none/state.db"), "x")
    with pytest.raises(StoreError, match="unable to open"):
        lease.acquire()


@pytest.mark.services
def test_lease_of_a_server_that_is_away_is_an_error():
    lease = Lease(Store("postgresql+psycopg://me:hidden@127.0.0.1:1/db?connect_timeout=1"), "x")
    with pytest.raises(StoreError) as caught:
        lease.acquire()
    assert "hidden" not in str(caught.value)


def test_lease_of_a_database_in_memory_is_refused():
    store = Store("sqlite://")
    with pytest.raises(StoreError, match="a database in memory has no leases"):
        Lease(store, "x").acquire()
    store.close()
