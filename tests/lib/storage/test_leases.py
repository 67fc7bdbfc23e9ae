"""Leases between real processes, on real databases."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from lib.storage.database import Store, StoreError, utcnow
from lib.storage.leases import Lease, held, is_dead, process_name
from lib.storage.tables import leases

ELSEWHERE = "another-machine/1:1:1:x"


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    yield store
    store.close()


def change(store, **values):
    with store.writing() as connection:
        connection.execute(leases.update().values(**values))


def test_lease_is_had_by_one(store):
    first, second = Lease(store, "x"), Lease(store, "x")
    assert first.take()
    assert not second.take()
    assert Lease(store, "y").take()
    first.release()
    assert second.take()
    assert not first.renew()
    assert first.lost.is_set()
    first.release()  # not its own to give back
    assert second.renew()


def test_lease_asked_for_at_once_is_given_once(store):
    Store(store.url.render_as_string(hide_password=False)).close()
    taken = []

    def work():
        lease = Lease(store, "x")
        if lease.take():
            taken.append(lease)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


@pytest.mark.parametrize("away", [timedelta(seconds=-1), timedelta(hours=1)])
def test_lease_that_ended_or_is_from_before_the_clock_was_set_back_is_free(store, away):
    Lease(store, "x").take()
    change(store, owner=ELSEWHERE)
    assert not Lease(store, "x").take()
    change(store, until=utcnow() + away)
    assert Lease(store, "x").take()


def test_lease_taken_since_then_is_not_given_again(store):
    tick = utcnow() - timedelta(minutes=1)
    first = Lease(store, "x")
    assert first.take(unless_since=tick)
    first.release()
    assert not Lease(store, "x").take(unless_since=tick)
    assert Lease(store, "x").take(unless_since=utcnow() + timedelta(minutes=1))


HOLDER = """
import sys, time
from lib.leases import Lease
from lib.store import Store
assert Lease(Store(sys.argv[1]), "x", seconds=600).take()
print("taken", flush=True)
time.sleep(60)
"""


def test_lease_of_a_killed_process_is_free_at_once(store):
    url = store.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", HOLDER, url]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"taken\n"
    lease = Lease(store, "x", seconds=600)
    assert not lease.take()
    holder.send_signal(signal.SIGSTOP)
    assert not lease.take()  # it lives, and may go on
    holder.kill()
    holder.communicate()
    assert lease.take()


def test_held_keeps_a_lease_past_its_length_and_gives_it_back(store):
    with held(store, "x", seconds=1.2) as lease:
        assert lease is not None
        time.sleep(1.5)
        with held(store, "x", seconds=1.2) as other:
            assert other is None
        assert not lease.lost.is_set()
    with held(store, "x") as other:
        assert other is not None


def test_held_notices_that_another_has_taken_over(store):
    with held(store, "x", seconds=0.6) as lease:
        assert lease is not None
        change(store, owner=ELSEWHERE, until=utcnow() + timedelta(seconds=1))
        assert lease.lost.wait(10)
    with store.reading() as connection:
        assert connection.scalar(sa.select(leases.c.owner)) == ELSEWHERE


def test_held_counts_as_lost_where_the_database_is_away_for_its_length(store, monkeypatch):
    def away(self):
        raise StoreError("away")

    with held(store, "x", seconds=0.6) as lease:
        assert lease is not None
        monkeypatch.setattr(Lease, "renew", away)
        assert lease.lost.wait(10)


def test_processes_that_share_a_name_of_machine_but_not_their_numbers_are_not_judged(monkeypatch):
    name = process_name()
    assert not is_dead(name)
    machine, pid, started, tail = name.rsplit(":", 3)
    assert is_dead(f"{machine}:{pid}:{int(started) - 1}:{tail}")
    host, since, processes = machine.split("/")
    for other in (f"{host}/{since}/1", f"{host}/another start/{processes}"):
        assert not is_dead(f"{other}:{pid}:{int(started) - 1}:{tail}")
    assert str(os.getpid()) == pid
