"""Put the effects of hidden covariates back into windows, which training alone does."""

from __future__ import annotations

import numpy as np

from lib.features.covariate_effects import LARGEST, PanelEffects


def put_back(
    applied: PanelEffects, values: np.ndarray, rows: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """Put the effects of hidden covariates back into values that all were removed from.

    Args:
        applied: the effects on the panel.
        values: (n, days), of the panel that `remove` returns.
        rows: (n, days) of the panel.
        hidden: (n, K) bool.

    Returns:
        (n, days).
    """
    effects = applied.effects[:, rows].astype(np.float64)  # (K, n, days)
    every = np.clip(effects.sum(axis=0), -LARGEST, LARGEST)
    left = np.where(hidden.T[:, :, None], 0.0, effects).sum(axis=0)
    back = every - np.clip(left, -LARGEST, LARGEST)
    units = applied.units[rows]
    return np.where(np.isnan(units), values * np.exp(back), values + units * back)
