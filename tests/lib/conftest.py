"""Set-ups that tests of several packages share."""

import pytest

from lib.inference.served_model import ServedModel
from lib.storage.database import Store
from tests.panels import TINY_MODEL, lively_panel, split_of


@pytest.fixture(scope="session")
def panel():
    """Two series of 300 days with covariates and gaps; not to be changed."""
    return lively_panel()


@pytest.fixture
def store(database_url):
    """An empty database; a module may have another."""
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def tiny_model():
    """The committed artifact, loaded."""
    return ServedModel.load(TINY_MODEL)


@pytest.fixture(scope="session")
def small_training():
    """(panel, split, data, fit): one tiny calibrated fit; not to be changed."""
    from lib.training import calibration, loop
    from lib.training.data import prepare
    from tests.networks import MODEL, TRAINING

    panel = lively_panel()
    split = split_of(panel)
    data = prepare(panel, split, MODEL)
    return panel, split, data, calibration.calibrate(loop.fit(data, MODEL, TRAINING), data)
