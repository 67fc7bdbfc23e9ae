"""Rows behind the last observed value that carry planned covariates: they are the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data.panel import Panel
from lib.data.series_tables import to_panel


def last_history_rows(panel: Panel) -> np.ndarray:
    """Return the row of the last day of the history of each series. (S,) int64.

    Where a row behind the last observed value knows a covariate, the history ends with that
    value, and what follows is planned. Otherwise it ends with the last row: blank rows at the end
    are missing values.
    """
    rows = np.arange(len(panel.values))
    starts = panel.offsets[:-1]
    observed = np.where(np.isfinite(panel.values), rows, -1)
    covariate = np.where(_knows_covariate(panel), rows, -1)
    last_observed = np.maximum.reduceat(observed, starts)
    last_covariate = np.maximum.reduceat(covariate, starts)
    planned = (last_observed >= starts) & (last_covariate > last_observed)
    return np.where(planned, last_observed, panel.offsets[1:] - 1)


def _knows_covariate(panel: Panel) -> np.ndarray:
    """Return which rows know a covariate that was planned; holidays are not planned. (N,)."""
    known = np.isfinite(panel.factor) | np.isfinite(panel.event)
    for covariate in panel.covariates:
        if covariate.role == "known" and covariate.kind != "holiday":
            known |= np.isfinite(covariate.values)
    return known


def is_planned(panel: Panel) -> np.ndarray:
    """Return which rows are planned: behind the history of their series. (N,) bool."""
    last = np.repeat(last_history_rows(panel), np.diff(panel.offsets))
    return np.arange(len(panel.values)) > last


def last_history_day(panel: Panel) -> np.datetime64:
    """Return the last day of the history of any series."""
    return panel.dates[last_history_rows(panel)].max()


def forget_covariates_after(panel: Panel, day: np.datetime64) -> Panel:
    """Return the panel without what is known of covariates on the days after `day`."""
    late = panel.dates > day.astype("datetime64[D]")

    def forget(values: np.ndarray) -> np.ndarray:
        return np.where(late, np.nan, values)

    return replace(
        panel,
        factor=forget(panel.factor),
        event=forget(panel.event),
        covariates=tuple(replace(c, values=forget(c.values)) for c in panel.covariates),
    )


def split_planned(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide a canonical table into history and planned rows, each with a fresh index.

    >>> from lib.data import validate
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> table = pd.DataFrame({"date": days, "value": [1.0, 2.0, None, None]})
    >>> history, planned = split_planned(validate(table.assign(fator_externo=0.5), min_days=1))
    >>> len(history), planned["date"].dt.day.tolist()
    (2, [3, 4])
    """
    planned = is_planned(to_panel(table))
    return table[~planned].reset_index(drop=True), table[planned].reset_index(drop=True)
