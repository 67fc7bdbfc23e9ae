"""Recover values from features in NumPy, to compare the network's own way with."""

import numpy as np

from lib.features.engineering import FEATURES


def values_of(features: np.ndarray) -> np.ndarray:
    """Recover the values of windows of features.

    `lag_1` of the next row is the value of a day; `lag_7` of the first rows reaches a week before
    the window; the last value follows from `media_movel_7`.

    Args:
        features: (batch, days, 11).

    Returns:
        (batch, days + 7), NaN where missing; the last entry is the last day of the window.
    """
    lag_1 = features[..., FEATURES.index("lag_1")]
    lag_7 = features[..., :6, FEATURES.index("lag_7")]
    mean_7 = features[..., -1, FEATURES.index("media_movel_7")]
    previous = lag_1[..., -6:]
    observed = np.isfinite(previous).sum(axis=-1)
    last = mean_7 * (observed + 1) - np.nansum(previous, axis=-1)
    return np.concatenate([lag_7, lag_1, last[..., None]], axis=-1)
