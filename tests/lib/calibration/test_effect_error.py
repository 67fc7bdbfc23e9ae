"""How well a model knows what a plan does: on days whose errors are drawn here."""

import numpy as np
import pytest

from lib.calibration.effect_error import _relative_error

NOISE = 0.3
BLOCKS = np.arange(1200) // 100


def measure(*, bias=0.0, varies=0.0, seed=0):
    rng = np.random.default_rng(seed)
    effect = rng.uniform(0.6, 1.0, len(BLOCKS))
    error = effect * (bias + varies * rng.standard_normal(len(BLOCKS)))
    error += NOISE * rng.standard_normal(len(BLOCKS))
    return _relative_error(effect, error, BLOCKS, NOISE**2)


@pytest.mark.parametrize(
    ("bias", "varies", "expected"), [(0.1, 0.0, 0.1), (0.0, 0.2, 0.2), (0.15, 0.2, 0.25)]
)
def test_error_of_one_plan_is_the_bias_and_what_plans_vary_by(bias, varies, expected):
    found = [measure(bias=bias, varies=varies, seed=seed) for seed in range(20)]
    assert np.mean(found) == pytest.approx(expected, abs=0.02)


def test_right_effects_have_the_error_of_their_estimate():
    found = [measure(seed=seed) for seed in range(20)]
    assert 0 < np.mean(found) < 0.06


def test_one_block_says_nothing():
    one = np.zeros(100, dtype=int)
    assert np.isnan(_relative_error(np.ones(100), np.ones(100), one, 0.1))
