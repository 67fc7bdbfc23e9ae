"""What the service says of itself is so: of its worker, its registry, its copies, its processes."""

import errno
import json
import threading
import time

import pytest

from lib.registry.model_cache import ModelCache
from serving.app import create_app
from serving.explanations.jobs import NoWorkerError
from serving.model.live_model import LAST_KNOWN_GOOD, LiveModel, RegistryAwayError
from serving.schemas.examples import example_rows
from serving.server import ReadyProcesses
from serving.state import state_of
from serving.worker import Worker
from tests.serving.live import Shelf, close, settings_of

BODY = {"sequence": example_rows()}


@pytest.fixture
def live(tmp_path):
    """Makes live models whose files are in one folder."""
    settings = settings_of(tmp_path)
    return lambda shelf, **more: LiveModel(settings, registry=lambda: shelf, **more)


def served(model):
    current = model.current()
    return current and (current.version, current.source)


@pytest.fixture
def app(tmp_path):
    settings = settings_of(tmp_path)
    model = LiveModel(settings, registry=lambda: Shelf(production=7))
    model.refresh()
    model.start = lambda: None
    app = create_app(settings, model=model, needs_worker=True)
    yield app
    close(app)


def test_explanation_without_a_worker_is_refused_and_not_queued_for_ever(app):
    client, jobs = app.test_client(), state_of(app).jobs
    answer = client.post("/request-explanation", json=BODY)
    assert answer.status_code == 503
    assert answer.mimetype == "application/problem+json"
    assert "make run-worker" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert jobs.count()["queued"] == 0
    jobs.announce("w")
    answer = client.post("/request-explanation", json=BODY)
    assert answer.status_code == 202
    where = answer.headers["Location"]
    assert client.get(where).json["detail"] == ""
    jobs.announce("w", leaves=True)
    assert "No worker" in client.get(where).json["detail"]
    assert client.post("/request-explanation", json=BODY).status_code == 202  # it is there
    with pytest.raises(NoWorkerError):
        jobs.submit({"n": 1}, 1, needs_worker=True)


def test_health_says_what_keeps_a_newer_model_away(tmp_path):
    shelf, broken = Shelf(production=7), tmp_path / "broken"
    broken.mkdir()
    shelf.folders[8] = broken
    model = LiveModel(settings_of(tmp_path), registry=lambda: shelf)
    model.refresh()
    model.start = lambda: None
    app = create_app(settings_of(tmp_path), model=model)

    def health():
        answer = app.test_client().get("/health").json
        assert answer is not None
        return answer

    assert (health()["status"], health()["detail"]) == ("ok", "")
    shelf.aliases["production"] = 8
    model.refresh()
    assert health()["status"] == "degraded"
    assert "version 8 is refused" in health()["detail"]
    shelf.error = ConnectionError("away")
    with pytest.raises(RegistryAwayError):
        model.refresh()
    assert (health()["status"], health()["registry"]) == ("degraded", "unreachable")
    shelf.error = None
    model.refresh()  # it is not looked at again so soon
    assert health()["registry"] == "reachable"
    assert "version 8 is refused" in health()["detail"]
    shelf.aliases["production"] = 7
    model.refresh()
    assert (health()["status"], health()["detail"]) == ("ok", "")
    close(app)


def test_worker_that_leaves_does_not_hide_another(jobs):
    jobs.announce("first")
    jobs.announce("second")
    jobs.announce("first", leaves=True)
    assert jobs.has_worker()
    jobs.announce("second", leaves=True)
    assert not jobs.has_worker()


def test_worker_announces_itself(settings):
    worker = Worker(settings, compute=lambda body, version: ({}, b""), lease_seconds=3)
    worker._announce()
    assert worker.jobs.has_worker()
    worker.store.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "x"}'])
def test_corrupt_note_does_not_hide_the_intact_copy(live, tmp_path, text):
    for version in (2, 3):
        live(Shelf(production=version)).refresh()
        time.sleep(0.02)
    (tmp_path / "cache" / "last-known-good.json").write_text(text)
    away = Shelf()
    away.error = ConnectionError("away")
    model = live(away)
    with pytest.raises(RegistryAwayError):
        model.refresh()
    model.restore()
    assert served(model) == (3, LAST_KNOWN_GOOD)


def test_corrupt_note_does_not_lend_the_copy_of_another_model(live, tmp_path):
    live(Shelf(production=3)).refresh()
    facts = tmp_path / "cache" / "notes" / "3.json"
    facts.write_text(facts.read_text().replace("ProductionLSTM", "Other"))
    (tmp_path / "cache" / "last-known-good.json").write_text("{")
    model = live(Shelf())
    model.restore()
    assert model.current() is None


def test_altered_contract_of_a_copy_is_refused_without_the_registry(live, tmp_path):
    failures = []
    live(Shelf(production=3)).refresh()
    file = tmp_path / "cache" / "models" / "3" / "contract.json"
    contract = json.loads(file.read_text())
    contract["scaling"]["floor"] = -5.0
    file.write_text(json.dumps(contract))
    model = live(Shelf(), on_failure=failures.append)
    model.restore()
    assert model.current() is None
    assert failures == ["cache"]
    fetched = []

    def fetch(version, folder):
        fetched.append(version)
        return Shelf().fetch(version, folder)

    with ModelCache(settings_of(tmp_path)).version(3, fetch) as folder:
        assert json.loads((folder / "contract.json").read_text())["scaling"]["floor"] == 0.0
    assert fetched == [3]


def test_copies_of_earlier_releases_are_served(live, tmp_path):
    live(Shelf(production=3)).refresh()
    (tmp_path / "cache" / "notes" / "3.json").unlink()
    model = live(Shelf())
    model.restore()
    assert served(model) == (3, LAST_KNOWN_GOOD)


def test_state_without_production_names_the_versions_that_are_there(live):
    shelf = Shelf()
    shelf.registered = {1, 2}
    model = live(shelf)
    model.refresh()
    assert "These versions are there: 1, 2" in model.detail()
    assert "make promote VERSION=2" in model.detail()
    assert "make train" not in model.detail()
    assert model.registry_state == "reachable"


def test_full_disk_behind_the_error_of_another_library_is_named(live):
    shelf, failures = Shelf(production=1), []

    def fetch(which, folder):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("download failed") from error

    shelf.fetch = fetch
    model = live(shelf, on_failure=failures.append)
    with pytest.raises(RegistryAwayError):
        model.refresh()
    assert failures == ["cache"]
    assert "disk of VAR_DIR is full" in model.detail()


def test_processes_know_whether_a_sibling_has_a_model(tmp_path):
    ready = ReadyProcesses(str(tmp_path))
    assert not ready.any()
    loaded = threading.Event()
    thread = threading.Thread(target=ready.enter, args=(loaded,))
    thread.start()
    assert not ready.any()
    loaded.set()
    thread.join(5)
    assert ready.any()
    (file,) = tmp_path.iterdir()
    ready.leave(int(file.name.split("-")[1]))
    assert not ready.any()
