"""The served model while registry, artifacts and cache change or fail."""

import errno
import json
import os
import shutil
import threading
import time
from collections import Counter

import pytest
import structlog

from lib.files import file_hash
from lib.inference.artifact import CONTRACT, ArtifactError
from lib.registry.registry import Registry
from serving.model.live_model import LAST_KNOWN_GOOD, LiveModel, RegistryAwayError
from tests.panels import TINY_MODEL
from tests.serving.live import Shelf, settings_of


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
def live_on(tmp_path, counted):
    models = []

    def make(shelf, poll=0.05, **changes):
        settings = settings_of(tmp_path, **changes)
        count = lambda reason: counted.update([reason])  # noqa: E731
        models.append(LiveModel(settings, registry=lambda: shelf, on_failure=count, poll=poll))
        return models[-1]

    yield make
    for model in models:
        model.stop()


def served(model):
    """Version and source of the model that answers."""
    now = model.current()
    assert now is not None
    return now.version, now.source


def until(happened, seconds=10):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def broken(folder, change):
    """A copy of the tiny model whose contract is changed, its checksums being right."""
    shutil.copytree(TINY_MODEL, folder)
    contract = json.loads((folder / CONTRACT).read_text())
    change(contract, folder)
    (folder / CONTRACT).write_text(json.dumps(contract))
    return folder


def _truncate(contract, folder):
    os.truncate(folder / "model.onnx", 1000)


def _truncate_with_checksum(contract, folder):
    _truncate(contract, folder)
    contract["sha256"]["model.onnx"] = file_hash(folder / "model.onnx")


def _format(contract, folder):
    contract["format_version"] = 99


def _order(contract, folder):
    contract["features"] = contract["features"][::-1]


def _horizon(contract, folder):
    contract["horizon"] = 5


def _types(contract, folder):
    contract["max_context"] = "many"


def test_model_of_production_goes_before_staging(live_on):
    model = live_on(Shelf(staging=2, production=1))
    model.refresh()
    assert served(model) == (1, "production")


def test_model_of_staging_is_served_while_there_is_no_production(live_on):
    shelf = Shelf(staging=2)
    model = live_on(shelf)
    model.refresh()
    assert served(model) == (2, "staging")
    shelf.aliases["production"] = 2
    model.refresh()
    assert served(model)[1] == "production"
    assert shelf.fetched == [2]


def test_model_of_an_empty_registry_says_what_to_do(live_on):
    model = live_on(Shelf())
    model.refresh()
    assert model.current() is None
    assert "make train" in model.detail()


def test_model_follows_a_promotion_in_the_background(live_on):
    shelf = Shelf(production=1)
    model = live_on(shelf)
    model.start()
    until(lambda: model.current())
    shelf.aliases["production"] = 2
    until(lambda: served(model)[0] == 2)


@pytest.mark.parametrize(
    "change", [_truncate, _truncate_with_checksum, _format, _order, _horizon, _types]
)
def test_model_refuses_a_broken_artifact_and_keeps_the_old_one(live_on, counted, tmp_path, change):
    shelf = Shelf(production=1)
    model = live_on(shelf)
    model.refresh()
    shelf.folders[2] = broken(tmp_path / "broken", change)
    shelf.aliases["production"] = 2
    model.refresh()
    model.refresh()
    assert served(model)[0] == 1
    assert "version 2 is refused" in model.detail()
    assert counted == {"artifact": 1}
    assert shelf.fetched == [1, 2]  # not fetched again at every poll
    shelf.aliases["production"] = 3
    model.refresh()
    assert (served(model)[0], model.detail()) == (3, "")


def test_model_without_the_registry_is_the_last_known_good_copy(live_on, counted):
    live_on(Shelf(production=3)).refresh()
    shelf = Shelf(production=4)
    shelf.error = ConnectionError("https://user:secret@registry refused")
    model = live_on(shelf)
    model.start()
    until(lambda: model.current())
    assert served(model) == (3, LAST_KNOWN_GOOD)
    assert model.registry_state == "unreachable"
    assert counted["registry"]
    shelf.error = None
    until(lambda: served(model)[0] == 4)
    assert model.registry_state == "reachable"


def test_model_stays_when_the_registry_dies(live_on, capsys):
    shelf = Shelf(production=1)
    model = live_on(shelf)
    model.refresh()
    shelf.error = OSError("postgresql://user:secret@host is away")
    with pytest.raises(RegistryAwayError) as caught:
        model.refresh()
    assert served(model)[0] == 1
    assert "secret" not in str(caught.value) + capsys.readouterr().out


def test_model_refuses_a_damaged_last_known_good_copy(live_on, counted, tmp_path):
    live_on(Shelf(production=3)).refresh()
    os.truncate(tmp_path / "cache" / "models" / "3" / "model.onnx", 10)
    model = live_on(Shelf())
    model.restore()
    assert model.current() is None
    assert counted == {"cache": 1}


def test_model_ignores_the_copy_of_another_model(live_on, tmp_path):
    live_on(Shelf(production=3)).refresh()
    note = tmp_path / "cache" / "last-known-good.json"
    note.write_text(json.dumps({"name": "another", "version": 3}))
    model = live_on(Shelf())
    model.restore()
    assert model.current() is None


def test_model_is_served_where_the_cache_cannot_be_written(live_on, counted, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    model = live_on(Shelf(production=1))
    model.refresh()
    assert served(model)[0] == 1
    assert counted["cache"]


def test_model_does_not_wait_for_a_slow_registry(live_on, tmp_path):
    live_on(Shelf(production=3)).refresh()
    fetching, answer = threading.Event(), threading.Event()

    class Slow(Shelf):
        def fetch(self, which, folder):
            fetching.set()
            assert answer.wait(30)
            return super().fetch(which, folder)

    model = live_on(Slow(production=4))
    loading = threading.Thread(target=model.refresh)
    loading.start()
    try:
        assert fetching.wait(10)
        restoring = threading.Thread(target=model.restore, daemon=True)
        restoring.start()
        restoring.join(10)
        assert served(model) == (3, LAST_KNOWN_GOOD)
    finally:
        answer.set()
        loading.join(10)
    assert served(model) == (4, "production")
    assert sorted(p.name for p in (tmp_path / "cache" / "models").iterdir()) == ["3", "4"]


def test_model_that_is_refused_does_not_replace_its_copy(live_on, tmp_path):
    shelf = Shelf(production=3)
    live_on(shelf).refresh()
    shelf.folders[3] = broken(tmp_path / "broken", _truncate)
    model = live_on(shelf)
    model.refresh()
    assert model.current() is None
    model.restore()
    assert served(model) == (3, LAST_KNOWN_GOOD)


def test_cache_deletes_what_a_killed_process_left_after_a_day(live_on, tmp_path):
    old, new = (tmp_path / "cache" / "models" / f".arriving-{n}" for n in range(2))
    for left in (old, new):
        left.mkdir(parents=True)
    long_ago = time.time() - 100_000
    os.utime(old, (long_ago, long_ago))
    live_on(Shelf(production=3)).refresh()
    assert not old.exists()
    assert new.exists()


def test_cache_deletes_copies_of_another_model(live_on, tmp_path):
    shelf = Shelf(production=1)
    for version, name in ((1, "shops"), (2, "shops"), (3, "weather")):
        shelf.aliases["production"] = version
        live_on(shelf, registered_model_name=name).refresh()
    assert [p.name for p in (tmp_path / "cache" / "models").iterdir()] == ["3"]


def test_model_refusal_shows_no_address(live_on):
    class Locked(Shelf):
        def fetch(self, which, folder):
            raise ArtifactError("['model.onnx'] missing in ftp://me:horse@there/models")

    model = live_on(Locked(production=1))
    with structlog.testing.capture_logs() as lines:
        model.refresh()
    assert "version 1 is refused" in model.detail()
    assert "horse" not in model.detail() + str(lines)


def test_cache_deletes_old_copies(live_on, tmp_path):
    shelf = Shelf()
    model = live_on(shelf)
    for version in range(1, 9):
        shelf.aliases["production"] = version
        model.refresh()
    assert len(list((tmp_path / "cache" / "models").iterdir())) <= 5
    assert (tmp_path / "cache" / "models" / "8").is_dir()


def test_models_of_many_processes_load_at_once(live_on):
    models = [live_on(Shelf(production=1)) for _ in range(4)]
    threads = [threading.Thread(target=model.refresh) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [served(model)[0] for model in models] == [1] * 4


@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
    "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
)
def test_model_follows_a_real_registry(tmp_path):
    settings = settings_of(tmp_path)
    registry = Registry(settings)
    run = registry.log_run(params={}, metrics={})
    registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
    model = LiveModel(settings)
    model.refresh()
    assert served(model) == (1, "staging")
    registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
    registry.promote(2)
    model.refresh()
    assert served(model) == (2, "production")
    registry.promote(1)
    registry.rollback()
    model.refresh()
    assert served(model)[0] == 2


def test_model_of_a_registry_made_anew_is_loaded_though_its_number_is_the_same(live_on):
    shelf = Shelf(production=1)
    model = live_on(shelf)
    for run in ("first", "first", "second", "second"):
        shelf.run = run
        model.refresh()
    assert shelf.fetched == [1, 1]


@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
    "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
)
def test_model_follows_a_registry_whose_file_was_replaced(tmp_path):
    settings, other = settings_of(tmp_path / "first"), settings_of(tmp_path / "second")
    for each in (settings, other):
        registry = Registry(each)
        run = registry.log_run(params={}, metrics={})
        registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
    model = LiveModel(settings)
    model.refresh()
    first = model.current()
    for file in (tmp_path / "first").glob("mlflow.db*"):
        file.unlink()
    with pytest.raises(RegistryAwayError):
        model.refresh()
    (tmp_path / "second" / "mlflow.db").replace(tmp_path / "first" / "mlflow.db")
    model.refresh()
    second = model.current()
    assert first is not None
    assert second is not None
    assert first.version == second.version == 1
    assert first.since < second.since


def test_full_disk_is_not_called_a_registry_that_is_away(tmp_path):
    shelf = Shelf(production=1)
    failures = []
    model = LiveModel(settings_of(tmp_path), registry=lambda: shelf, on_failure=failures.append)

    def fetch(which, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    shelf.fetch = fetch
    with pytest.raises(RegistryAwayError):
        model.refresh()
    assert failures == ["cache"]
    assert "disk of VAR_DIR is full" in model.detail()
    assert model.registry_state == "reachable"
