"""The features of days as a table: what drift is measured by."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Panel
from lib.features.engineering import FEATURES

_COMPARED = ("number", "event")  # kinds whose distributions are compared


def tabulate_features(panel: Panel, features: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """Return series, date, the eleven features and the covariates of some rows of a panel.

    Covariates are those that change from day to day and are numbers, under their own names. One
    that has the name of another column is left out.

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
            table[covariate.name] = covariate.values[rows]
    return table
