"""What a generator returns, and the random draws that several generators share.

Effects are logarithms, to be added up, unless a docstring says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

SERIES_PER_WORLD = 6
MAX_LOG = 12.0  # of a value against its level, lest a product of effects overflow


@dataclass(frozen=True)
class World:
    """A few series of the same days.

    Attributes:
        values: (series, days), arbitrary units.
        factor: (series, days), an external factor; NaN where there is none.
        event: (series, days), planned events, 0 to 1; NaN where nobody knows them.
    """

    values: np.ndarray
    factor: np.ndarray
    event: np.ndarray


def draw_left(rng: np.random.Generator) -> float:
    """Return the share of a known covariate's effect that is left in the series.

    Effects of known covariates are taken off in closed form before the network, all but exactly.
    What is not known ahead stays in the series as a whole.
    """
    return float(rng.uniform(-0.2, 0.4))


def without_covariates(values: np.ndarray) -> World:
    """Return a world of which nothing but the values is known."""
    unknown = np.full(values.shape, np.nan)
    return World(values, unknown, unknown)


def log_uniform(
    rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...] = ()
) -> np.ndarray:
    """Draw numbers whose logarithm is uniform."""
    return np.asarray(np.exp(rng.uniform(math.log(low), math.log(high), shape)))


def exponentiate(effects: np.ndarray) -> np.ndarray:
    """Return the exponential of logarithms, bounded on both sides."""
    return np.asarray(np.exp(np.clip(effects, -MAX_LOG, MAX_LOG)))


def standardise(values: np.ndarray) -> np.ndarray:
    """Return rows of mean 0 and standard deviation 1; a constant row becomes 0.

    Examples:
        >>> standardise(np.array([[1.0, 3.0], [2.0, 2.0]])).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    centered = values - values.mean(axis=-1, keepdims=True)
    return np.asarray(centered / np.maximum(centered.std(axis=-1, keepdims=True), 1e-9))


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return white noise of unit variance, normal or with heavy tails."""
    if rng.random() < 0.6:
        return rng.standard_normal(shape)
    freedom = rng.uniform(3.0, 8.0)
    return rng.standard_t(freedom, shape) * math.sqrt((freedom - 2) / freedom)


def draw_ar1(rng: np.random.Generator, shape: tuple[int, int], persistence: float) -> np.ndarray:
    """Return a stationary AR(1) process of unit variance in each row."""
    shocks = draw_noise(rng, shape)
    shocks[:, 1:] *= math.sqrt(1 - persistence**2)
    return np.asarray(lfilter([1.0], [1.0, -persistence], shocks, axis=1))


def draw_trend(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return slow changes of level: a slope that bends, or a random walk, or none."""
    years = np.arange(shape[1]) / 365.25
    kind = rng.random()
    if kind < 0.25:
        return np.zeros(shape)
    if kind < 0.6:
        slopes = log_uniform(rng, 0.02, 0.6) * rng.standard_normal((shape[0], 2))
        bend = rng.uniform(0.2, 0.8) * years[-1]
        return slopes[:, :1] * years + slopes[:, 1:] * np.maximum(years - bend, 0.0)
    steps = log_uniform(rng, 0.02, 0.4) / math.sqrt(365.25) * draw_noise(rng, shape)
    return np.asarray(np.cumsum(steps, axis=1))


def draw_segments(rng: np.random.Generator, shape: tuple[int, int], mean_days: float) -> np.ndarray:
    """Return the number of the segment that each day is in, (series, days) int."""
    starts = rng.random(shape) < 1 / mean_days
    starts[:, 0] = False
    return np.asarray(np.cumsum(starts, axis=1))


def take_by_segment(values: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the entry of each segment on each of its days; the entries repeat after the last.

    Args:
        values: (series, entries).
        segments: (series, days) int.
    """
    return np.take_along_axis(values, segments % values.shape[1], axis=1)
