"""Describe the data that a model has learned from, for people who forecast other data with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.data.panel import Panel

MAX_NAMES = 500  # series; of more, the names are left out


def describe_data(panel: Panel, name: str = "") -> dict[str, Any]:
    """Return name, size, series and levels of a panel, for JSON.

    Args:
        panel: all series.
        name: of the file, for people.

    Returns:
        name; series and rows (counts); names of the series, [] for more than MAX_NAMES; levels,
        the lowest and the highest median of the absolute values of a series, [] where none has a
        value.

    >>> from lib.data import to_panel, validate
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=60)
    >>> panel = to_panel(validate(pd.DataFrame({"date": days, "value": [3.0, 5.0] * 30})))
    >>> describe_data(panel, "sales.csv").get("rows")
    60
    """
    spans = zip(panel.offsets[:-1], panel.offsets[1:], strict=True)
    known = [(v := panel.values[start:stop])[np.isfinite(v)] for start, stop in spans]
    levels = [float(np.median(np.abs(values))) for values in known if len(values)]
    return {
        "name": name,
        "series": panel.n_series,
        "rows": len(panel.dates),
        "names": list(panel.ids) if panel.n_series <= MAX_NAMES else [],
        "levels": [min(levels), max(levels)] if levels else [],
    }
