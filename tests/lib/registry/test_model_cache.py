"""Copies of fetched models: shared, whole, bounded in number, and never of another model."""

import json
import os
import shutil

import pytest

from lib.inference.artifact import ArtifactError, verify_folder
from lib.registry.model_cache import MAX_COPIES, ModelCache
from tests.panels import TINY_MODEL
from tests.serving.live import settings_of


class Store:
    """A registry whose versions are all the committed model; counts what is fetched."""

    def __init__(self):
        self.fetched = []

    def fetch(self, version, folder):
        self.fetched.append(version)
        return shutil.copytree(TINY_MODEL, folder)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path)


@pytest.fixture
def cache(settings):
    return ModelCache(settings)


@pytest.fixture
def copies(settings):
    return settings.var_dir / "cache" / "models"


def use(cache, store, *versions):
    for version in versions:
        with cache.version(version, store.fetch) as folder:
            verify_folder(folder)
    return folder


def names(copies):
    return sorted(path.name for path in copies.iterdir())


def serve(cache, store, version):
    with cache.arriving() as place:
        folder = store.fetch(version, place / str(version))
        with cache.exclusive() as root:
            cache.keep(root, folder, version)
            cache.remember(root, version)


def test_version_is_fetched_once(cache, store, copies):
    folder = use(cache, store, 1, 1, 2, 1)
    assert store.fetched == [1, 2]
    assert names(copies) == ["1", "2"]
    assert not folder.exists()  # it was the caller's, for the block


def test_version_with_a_damaged_copy_is_fetched_again(cache, store, copies):
    use(cache, store, 1)
    os.truncate(copies / "1" / "model.onnx", 10)
    use(cache, store, 1, 1)
    assert store.fetched == [1, 1]
    verify_folder(copies / "1")


def test_copies_are_bounded_and_the_least_recently_used_go(cache, store, copies):
    use(cache, store, *range(1, MAX_COPIES + 1))
    for age, version in enumerate((1, 3, 4, 5, 2)):
        os.utime(copies / str(version), (1_000_000 - age, 1_000_000 - age))
    use(cache, store, 2, 8, 9)
    assert names(copies) == sorted(["1", "2", "3", "8", "9"])


def test_last_known_good_version_stays_whatever_else_is_used(cache, store, copies):
    serve(cache, store, 1)
    os.utime(copies / "1", (1, 1))
    use(cache, store, *range(2, 12))
    assert len(names(copies)) == MAX_COPIES
    with cache.exclusive() as root:
        assert cache.last_known_good(root) == (1, copies / "1")


@pytest.mark.parametrize(
    "other",
    [{"registered_model_name": "weather"}, {"mlflow_tracking_uri": "http://elsewhere"}],
    ids=["model", "registry"],
)
def test_copies_of_another_model_are_neither_used_nor_replaced(
    settings, cache, store, copies, other
):
    serve(cache, store, 1)
    stranger, its_store = ModelCache(settings.model_copy(update=other)), Store()
    use(stranger, its_store, 1, 2)
    assert its_store.fetched == [1, 2]
    assert names(copies) == ["1"]
    use(cache, store, 1)
    assert store.fetched == [1]
    serve(stranger, its_store, 3)  # the service has moved to it
    assert names(copies) == ["3"]


def test_copies_of_an_earlier_release_are_used(cache, store, copies):
    shutil.copytree(TINY_MODEL, copies / "4")
    note = {"name": "ProductionLSTM-Forecast", "version": 4}
    (copies.parent / "last-known-good.json").write_text(json.dumps(note))
    use(cache, store, 4)
    assert store.fetched == []


def test_folders_that_monitoring_left_are_deleted(settings, cache, store):
    left = shutil.copytree(TINY_MODEL, settings.var_dir / "monitoring" / "model-0123abcd-1")
    latest = left.with_name("latest.json")
    latest.write_text("{}")
    use(cache, store, 1)
    assert not left.exists()
    assert latest.exists()


def test_version_is_yielded_where_the_cache_cannot_be_written(settings, store):
    (settings.var_dir / "cache").write_text("a file where the folder should be")
    failures = []
    use(ModelCache(settings, failures.append), store, 1)
    assert store.fetched == [1]
    assert set(failures) == {"cache"}


def test_error_of_a_fetch_is_raised_and_nothing_is_left(cache, copies):
    def refuse(version, folder):
        raise ArtifactError("model.onnx: missing")

    with pytest.raises(ArtifactError, match="missing"), cache.version(1, refuse):
        pass
    assert names(copies) == []


def test_note_that_cannot_be_read_is_an_error_and_no_copy_is_used(cache, store, copies):
    serve(cache, store, 1)
    (copies.parent / "last-known-good.json").write_text("[]")
    with cache.exclusive() as root, pytest.raises(ArtifactError, match="expected the name"):
        cache.last_known_good(root)
    use(cache, store, 1)
    assert store.fetched == [1, 1]
    serve(cache, store, 2)
    with cache.exclusive() as root:
        assert cache.last_known_good(root) == (2, copies / "2")
