"""A worker in this process, whose store and registry fail at chosen moments."""

from datetime import timedelta

import pytest

from lib.settings import get_settings
from lib.store import StoreError, explanations, utcnow
from serving.worker import Worker


@pytest.fixture
def settings(tmp_path):
    places = {
        "var_dir": tmp_path,
        "database_url": f"sqlite:///{tmp_path}/state.db",
        "queue_url": f"sqlite:///{tmp_path}/queue.db",
    }
    return get_settings(None).model_copy(update=places)


@pytest.fixture
def worker_on(settings):
    made = []

    def make(compute):
        made.append(Worker(settings, compute))
        return made[-1]

    yield make
    for worker in made:
        worker.store.close()


def plain(body, version):
    return {"n": body["n"]}, b"\x89PNG"


def let_leases_end(worker):
    with worker.store.writing() as connection:
        past = utcnow() - timedelta(seconds=1)
        connection.execute(explanations.update().values(lease_until=past))


def test_worker_computes_again_what_it_could_not_store(worker_on, monkeypatch):
    worker = worker_on(plain)
    identity, _ = worker.jobs.submit({"n": 1}, 1)

    def full(*args):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(worker.jobs, "finish", full)
        worker.handle(identity)
    assert worker.jobs.get(identity).status == "running"
    let_leases_end(worker)
    worker.renew()  # it lives, and has nothing in hand
    worker.look_after()
    assert worker.queue.huey.pending_count() == 1
    worker.handle(identity)
    assert worker.jobs.get(identity).status == "done"


def test_worker_prolongs_the_lease_of_what_it_has_in_hand(worker_on):
    kept = []

    def compute(body, version):
        let_leases_end(worker)
        worker.renew()
        kept.extend(worker.jobs.take_back(lambda name: False))
        return plain(body, version)

    worker = worker_on(compute)
    identity, _ = worker.jobs.submit({"n": 1}, 1)
    worker.handle(identity)
    assert kept == []
    assert worker.jobs.get(identity).status == "done"
