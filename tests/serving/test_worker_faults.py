"""A worker in this process, whose store and registry fail at chosen moments."""

from datetime import timedelta

import pytest

from lib.log import configure_logging
from lib.storage.database import StoreError, utcnow
from lib.storage.tables import explanations
from serving.explanations.explainer import Explainer, TryLaterError
from serving.worker import Worker
from tests.serving.live import settings_of


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path)


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
    identity = worker.jobs.submit({"n": 1}, 1)

    def full(*args):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(worker.jobs, "finish", full)
        patch.setattr("serving.worker._AWAY", 0.0)
        assert not worker.work()
    assert worker.jobs.get(identity).status == "running"
    let_leases_end(worker)
    worker.renew()  # it lives, and has no current job
    worker.reclaim()
    assert worker.jobs.count()["queued"] == 1
    assert worker.work()
    assert worker.jobs.get(identity).status == "done"


def test_worker_renews_the_lease_of_its_current_job(worker_on):
    reclaimed = []

    def compute(body, version):
        let_leases_end(worker)
        worker.renew()
        reclaimed.extend(worker.jobs.reclaim(lambda name: False))
        return plain(body, version)

    worker = worker_on(compute)
    identity = worker.jobs.submit({"n": 1}, 1)
    assert worker.work()
    assert reclaimed == []
    assert worker.jobs.get(identity).status == "done"


@pytest.mark.parametrize("kind", [TryLaterError, RuntimeError])
def test_worker_logs_no_password_of_the_registry(worker_on, capsys, kind):
    def compute(body, version):
        try:
            raise OSError("http://me:secret@registry:5000 refused")
        except OSError as error:
            raise kind("API request to http://me:secret@registry:5000/api failed") from error

    configure_logging("INFO")
    worker = worker_on(compute)
    identity = worker.jobs.submit({"n": 1}, 1)
    assert worker.work()
    logged = capsys.readouterr().err
    assert kind.__name__ in logged
    assert "secret" not in logged
    assert "registry:5000" not in logged
    row = worker.jobs.get(identity)
    assert row.error == (None if kind is TryLaterError else "RuntimeError: API request to http://…")


def test_worker_logs_no_password_of_its_database(worker_on, capsys, monkeypatch):
    worker = worker_on(plain)
    worker.jobs.submit({"n": 1}, 1)

    def away(dead):
        raise ConnectionError("postgresql://:secret@database:5432 refused")

    monkeypatch.setattr(worker.jobs, "reclaim", away)
    configure_logging("INFO")
    worker.reclaim()
    logged = capsys.readouterr().err
    assert "worker cannot maintain its queue" in logged
    assert "secret" not in logged


def test_explainer_that_cannot_fetch_a_version_tells_no_password(settings, monkeypatch):
    def away(self, which, folder):
        raise OSError("http://me:secret@registry:5000 refused")

    monkeypatch.setattr("lib.registry.registry.Registry.fetch", away)
    with pytest.raises(TryLaterError, match="version 1 cannot be fetched: OSError") as raised:
        Explainer(settings).model(1)
    assert "secret" not in str(raised.value)
