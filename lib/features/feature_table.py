"""The features of days as a table: what drift is measured by."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Covariate, Panel
from lib.features.engineering import FEATURES

_COMPARED = ("number", "event", "category")  # holidays follow from the calendar


def tabulate_features(panel: Panel, features: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """Return series, date, the eleven features and the covariates of some rows of a panel.

    Covariates are those that change from day to day and are sent, under their own names: numbers,
    or the names of categories. One that has the name of another column is left out.

    Args:
        panel: the series.
        features: (N, 11) of `compute_features`.
        rows: (n,) numbers of rows.

    Returns:
        series_id, date (datetime64[s]), FEATURES, and a column a covariate: n rows.
    """
    table = pd.DataFrame(features[rows], columns=list(FEATURES))
    table.insert(0, "date", panel.dates[rows].astype("datetime64[s]"))
    table.insert(0, "series_id", np.array(panel.ids, dtype=object)[panel.series_of(rows)])
    for covariate in panel.covariates:
        is_compared = covariate.role != "static" and covariate.kind in _COMPARED
        if is_compared and covariate.name not in table:
            table[covariate.name] = _values_of(covariate, rows)
    return table


def _values_of(covariate: Covariate, rows: np.ndarray) -> np.ndarray:
    """Return the values of some rows: float64, or the names of categories, None where unknown."""
    values = covariate.values[rows]
    if covariate.kind != "category":
        return values
    names = np.array([*covariate.labels, None], dtype=object)
    return names[np.where(np.isnan(values), len(covariate.labels), values).astype(np.int64)]
