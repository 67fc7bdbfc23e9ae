"""The mean of a forecast distribution, from its quantiles."""

from statistics import NormalDist

import numpy as np
import pytest

from lib.inference.distribution import mean_of_quantiles

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def normal_quantiles(mean, std):
    return np.array([NormalDist(mean, std).inv_cdf(level) for level in LEVELS])


def test_mean_of_normal_quantiles_is_exact():
    stack = np.stack([normal_quantiles(10, 2), normal_quantiles(-3, 0.5)])
    np.testing.assert_allclose(mean_of_quantiles(stack, LEVELS), [10, -3], rtol=1e-12)


def test_mean_of_floored_normal_is_that_of_the_rectified_distribution():
    expected = 2 * NormalDist().cdf(2) + NormalDist().pdf(2)  # E max(X, 0) of N(2, 1)
    mean = mean_of_quantiles(normal_quantiles(2, 1), LEVELS, floor=0.0)
    assert mean == pytest.approx(expected, rel=1e-9)


def test_mean_agrees_with_numerical_integration():
    quantiles = np.array([0.0, 0.0, 0.0, 1.0, 4.0, 9.0, 15.0])
    scores = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    z = np.linspace(-8, 8, 400_001)
    q = np.interp(z, scores, quantiles)
    q += np.where(z > scores[-1], (z - scores[-1]) * (6 / (scores[-1] - scores[-2])), 0)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    expected = float(np.sum(q * density) * (z[1] - z[0]))
    assert mean_of_quantiles(quantiles, LEVELS, floor=0.0) == pytest.approx(expected, rel=1e-4)


def test_mean_never_lies_below_the_floor():
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.exponential(1, (100, 28, 7)) * rng.choice([0, 1], (100, 28, 7)))
    assert (mean_of_quantiles(quantiles, LEVELS, floor=0.0) >= 0).all()
    floors = np.array([0.0, -np.inf])
    two = np.stack([np.zeros(7), normal_quantiles(0, 1)])
    np.testing.assert_allclose(mean_of_quantiles(two, LEVELS, floor=floors), 0, atol=1e-12)


def test_mean_of_equal_quantiles_is_their_value():
    assert mean_of_quantiles(np.full(7, 5.0), LEVELS) == pytest.approx(5)


def test_mean_refuses_other_levels():
    with pytest.raises(ValueError, match="one for each of 7 quantiles, got 3"):
        mean_of_quantiles(np.zeros(7), (0.1, 0.5, 0.9))
