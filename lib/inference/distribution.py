"""Describe forecast distributions by more than their quantiles: the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
_erf = np.frompyfunc(math.erf, 1, 1)


def mean_of_quantiles(
    quantiles: np.ndarray, levels: Sequence[float], *, floor: float | np.ndarray = -np.inf
) -> np.ndarray:
    """Return the mean of the distribution that passes through some quantiles.

    The quantile function is taken as linear in the normal score between two levels; each tail
    goes on with the slope of its last two levels. So quantiles of a normal distribution give its
    mean exactly. Values below the floor count as the floor.

    With scores z and Q(z) = a + b z on a piece, a piece adds a (Φ(z2) - Φ(z1)) - b (φ(z2) - φ(z1)).

    Args:
        quantiles: (..., levels), in the unit of the series, rising.
        levels: two or more, rising between 0 and 1.
        floor: least possible value, one or of shape (...).

    Returns:
        (...), in the unit of the series.

    Raises:
        ValueError: there are fewer than two levels, or not as many as quantiles.

    >>> mean_of_quantiles(np.array([8.0, 10.0, 12.0]), (0.1, 0.5, 0.9)).round(6)
    np.float64(10.0)
    >>> mean_of_quantiles(np.array([0.0, 0.0, 3.0]), (0.1, 0.5, 0.9), floor=0.0) > 0.5
    np.True_
    """
    if len(levels) < 2 or quantiles.shape[-1] != len(levels):
        raise ValueError(
            f"levels: expected two or more, one for each of {quantiles.shape[-1]} quantiles, "
            f"got {len(levels)}"
        )
    scores = np.array([_NORMAL.inv_cdf(level) for level in levels])
    floor = np.asarray(floor, dtype=np.float64)
    q = np.maximum(quantiles, floor[..., None])
    slopes = np.diff(q, axis=-1) / np.diff(scores)
    starts = np.append(-np.inf, scores)
    ends = np.append(scores, np.inf)
    slopes = np.concatenate([slopes[..., :1], slopes, slopes[..., -1:]], axis=-1)
    anchors = np.append(0, np.arange(len(levels)))  # the level that each piece passes through
    intercepts = q[..., anchors] - slopes * scores[anchors]
    # The lower tail ends where it reaches the floor.
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = np.where(
            slopes[..., 0] > 0, (floor - intercepts[..., 0]) / slopes[..., 0], -np.inf
        )
    lowest = np.minimum(lowest, scores[0])
    begins = np.broadcast_to(starts, slopes.shape).copy()
    begins[..., 0] = lowest
    mass = _cdf(ends) - _cdf(begins)
    pieces = intercepts * mass - slopes * (_density(ends) - _density(begins))
    below = _cdf(lowest)
    at_floor = np.where(below > 0, below * np.where(np.isfinite(floor), floor, 0.0), 0.0)
    return np.asarray(pieces.sum(axis=-1) + at_floor)[()]


def _cdf(scores: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.asarray(_erf(scores / math.sqrt(2)), dtype=np.float64))


def _density(scores: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * scores**2) / math.sqrt(2 * math.pi)
