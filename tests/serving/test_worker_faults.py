"""A worker in this process, whose store and registry fail at chosen moments."""

from datetime import timedelta

import pytest

from lib.log import configure_logging
from lib.settings import get_settings
from lib.storage.database import StoreError, utcnow
from lib.storage.tables import explanations
from serving.explanations.explainer import Explainer, TryLaterError
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


@pytest.mark.parametrize("kind", [TryLaterError, RuntimeError])
def test_worker_tells_no_password_of_the_registry(worker_on, capsys, kind):
    def compute(body, version):
        try:
            raise OSError("http://me:secret@registry:5000 refused")
        except OSError as error:
            raise kind("API request to http://me:secret@registry:5000/api failed") from error

    configure_logging("INFO")
    worker = worker_on(compute)
    identity, _ = worker.jobs.submit({"n": 1}, 1)
    worker.handle(identity)
    told = capsys.readouterr().err
    assert kind.__name__ in told
    assert "secret" not in told
    assert "registry:5000" not in told
    row = worker.jobs.get(identity)
    assert row.error == (None if kind is TryLaterError else "RuntimeError: API request to http://…")


def test_worker_tells_no_password_of_its_queue(worker_on, capsys, monkeypatch):
    worker = worker_on(plain)
    worker.jobs.submit({"n": 1}, 1)

    def away(identities):
        raise ConnectionError("redis://:secret@queue:6379 refused")

    monkeypatch.setattr(worker.queue, "fill", away)
    configure_logging("INFO")
    worker.look_after()
    told = capsys.readouterr().err
    assert "worker cannot look after its jobs" in told
    assert "secret" not in told


def test_a_version_that_cannot_be_fetched_tells_no_password(settings, monkeypatch):
    def away(self, which, folder):
        raise OSError("http://me:secret@registry:5000 refused")

    monkeypatch.setattr("lib.registry.registry.Registry.fetch", away)
    with pytest.raises(TryLaterError, match="version 1 cannot be fetched: OSError") as raised:
        Explainer(settings).model(1)
    assert "secret" not in str(raised.value)
