"""Choose the series of a large panel that are learned from."""

from __future__ import annotations

import numpy as np

from lib.data import Panel


def choose_series(panel: Panel, series: np.ndarray, rows: float) -> np.ndarray:
    """Return evenly spaced series that have about so many rows.

    Args:
        panel: N rows.
        series: numbers of those to choose from.
        rows: of all chosen series together; one series is chosen at least.
    """
    if not len(series):
        return series
    mean = max(np.diff(panel.offsets)[series].mean(), 1)
    count = min(len(series), max(1, int(rows / mean)))
    return series[np.linspace(0, len(series) - 1, count).astype(int)]
