"""What makes up the difference of a scenario: the part of each covariate that it changes."""

from __future__ import annotations

import numpy as np


def share_difference(
    before: np.ndarray, after: np.ndarray, alone: np.ndarray, *, multiply: bool
) -> np.ndarray:
    """Divide the difference of two forecasts among the covariates that differ.

    Effects that multiply add up as logarithms. So a covariate has the share of the difference that
    its logarithm has of all (the logarithmic mean divisia index), which leaves no rest. What the
    covariates do only together, such as in a network that sees several of them, is divided in
    proportion to what they do alone.

    Args:
        before: (days,) means of the forecast.
        after: (days,) means of the scenario.
        alone: (K, days) means where one covariate alone is as in the scenario.
        multiply: whether effects multiply; otherwise they add.

    Returns:
        (K, days). Its sum over K is `after - before`.

    >>> before, price, promo = np.array([100.0]), np.array([120.0]), np.array([150.0])
    >>> parts = share_difference(before, np.array([180.0]), np.stack([price, promo]), multiply=True)
    >>> parts.round(1).ravel().tolist(), float(parts.sum().round(9))
    ([24.8, 55.2], 80.0)
    """
    difference = after - before
    parts = alone - before
    if multiply:
        positive = (before > 0) & (after > 0) & (alone > 0).all(axis=0)
        ratio = np.log(np.where(positive, after, 1.0) / np.where(positive, before, 1.0))
        changed = np.abs(ratio) > 1e-12
        mean = np.where(changed, difference / np.where(changed, ratio, 1.0), before)
        logs = np.log(np.where(positive, alone, 1.0) / np.where(positive, before, 1.0))
        parts = np.where(positive, mean * logs, parts)
    rest = difference - parts.sum(axis=0)
    size = np.abs(parts)
    total = size.sum(axis=0)
    shares = np.where(total > 0, size / np.where(total > 0, total, 1.0), 1.0 / len(alone))
    return parts + shares * rest
