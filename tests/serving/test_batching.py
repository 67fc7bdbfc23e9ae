import threading

import numpy as np
import pytest

from lib.inference.served_model import ServedModel
from serving.model.batching import Batcher
from tests.panels import TINY_MODEL


def windows(n):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (n, 1, 60, 11)), np.full((1, 3, 11), 0.5)


def ask_at_once(batcher, features, future):
    """Return what each thread got: a forecast or an error."""
    out = [None] * len(features)
    start = threading.Barrier(len(features))

    def ask(i):
        start.wait()
        try:
            out[i] = batcher.predict(features[i], future)
        except ValueError as error:
            out[i] = error

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(features))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return out


def test_batcher_gives_each_thread_its_own_forecast():
    forecaster = ServedModel.load(TINY_MODEL)
    features, future = windows(40)
    batcher = Batcher(forecaster)
    for _ in range(3):
        for got, window in zip(ask_at_once(batcher, features, future), features, strict=True):
            np.testing.assert_allclose(got, forecaster.predict(window, future)[0], rtol=1e-6)


def test_batcher_error_reaches_all_of_its_batch_and_the_next_is_computed():
    forecaster = ServedModel.load(TINY_MODEL)

    class Failing(ServedModel):
        def __init__(self):
            self.calls = 0

        def predict(self, features, future):
            self.calls += 1
            if self.calls % 2:
                raise ValueError("no")
            return forecaster.predict(features, future)

    failing = Failing()
    batcher = Batcher(failing)
    features, future = windows(30)
    out = ask_at_once(batcher, features, future)
    assert all(isinstance(got, ValueError | np.ndarray) for got in out)
    failing.calls = 1
    assert batcher.predict(features[0], future).shape == (3, 3)


def test_batcher_raises_the_error_of_one_alone():
    with pytest.raises(ValueError, match="expected"):
        Batcher(ServedModel.load(TINY_MODEL)).predict(np.zeros((1, 5, 11)), np.zeros((1, 3, 11)))
