"""Values a thousand times their surroundings: most often a wrong unit or a slipped key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.data.panel import Panel

FACTOR = 1000  # times the surroundings
NEIGHBOURS = 14  # observed values on either side
MIN_NEIGHBOURS = 4  # that are not zero: fewer are no surroundings


def find_spikes(values: np.ndarray) -> np.ndarray:
    """Return the positions of values more than a thousand times their surroundings.

    The surroundings of a value are the median size of the values around it that are not zero, 14
    observed ones on either side. A lasting change of level is therefore no spike.

    Args:
        values: (n,) of one series, NaN where missing.

    >>> values = np.array([3.0, 4, 5, np.nan, 4, 90_000, 3, 0, 4])
    >>> find_spikes(values).tolist()
    [5]
    """
    sizes = np.abs(values)
    used = np.flatnonzero(sizes > 0)
    if not len(used) or sizes[used].max() <= FACTOR * sizes[used].min():
        return np.empty(0, dtype=np.int64)
    observed = np.flatnonzero(np.isfinite(values))
    size = sizes[observed]
    candidates = np.flatnonzero(size > FACTOR * sizes[used].min())
    padded = np.pad(np.where(size > 0, size, np.nan), NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)[candidates]
    around = np.delete(windows, NEIGHBOURS, axis=1)
    enough = np.isfinite(around).sum(axis=1) >= MIN_NEIGHBOURS
    candidates, around = candidates[enough], around[enough]
    if not len(candidates):
        return np.empty(0, dtype=np.int64)
    return observed[candidates[size[candidates] > FACTOR * np.nanmedian(around, axis=1)]]


def spike_rows(panel: Panel, until: np.datetime64 | None = None) -> np.ndarray:
    """Return the rows of a panel that `find_spikes` finds, judged by the days up to `until`."""
    found = [np.empty(0, dtype=np.int64)]
    for s in range(panel.n_series):
        rows = panel.series(s)
        values = panel.values[rows]
        if until is not None:
            values = values[panel.dates[rows] <= until]
        found.append(rows.start + find_spikes(values))
    return np.concatenate(found)


def without_spikes(panel: Panel, until: np.datetime64 | None = None) -> Panel:
    """Return the panel with spikes as missing values, the panel itself where there are none."""
    rows = spike_rows(panel, until)
    if not len(rows):
        return panel
    values = panel.values.copy()
    values[rows] = np.nan
    return replace(panel, values=values)
