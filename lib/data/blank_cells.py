"""Blank cells that mean none: promotions that are named on their days, and blank on all others.

A blank in a covariate is unknown. But where an event has no 0, or a category no name for most days,
the blank is that name: otherwise nothing would tell days with a promotion from those without. A
category then has the label "".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import structlog

from lib.data.covariates import Covariate, covariate_columns, split_column
from lib.data.panel import Panel
from lib.data.planned import is_planned

# Those that pandas takes for missing as well
MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "null", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
MOST = 0.5  # share of blank days, from the first known one to the last, above which they mean none
log = structlog.get_logger()


def fill_blanks(panel: Panel) -> Panel:
    """Return a panel whose mostly blank events and categories are 0, or "", where they are blank.

    Nothing is filled before the first day that knows a covariate, nor in blank rows at the end of a
    series, which are no planned days.
    """
    starts = panel.offsets[:-1]
    rows = np.arange(len(panel.values))
    observed = np.isfinite(panel.values)
    last = np.maximum.reduceat(np.where(observed, rows, -1), starts)
    plans = np.maximum.reduceat(is_planned(panel), starts)
    lengths = np.diff(panel.offsets)
    written = (rows <= np.repeat(last, lengths)) | np.repeat(plans, lengths)

    def fill(covariate: Covariate) -> Covariate:
        return _fill(covariate, panel.dates, observed, written)

    event = fill(Covariate("evento_especial", "known", "event", panel.event))
    return replace(panel, event=event.values, covariates=tuple(map(fill, panel.covariates)))


def _fill(
    covariate: Covariate, dates: np.ndarray, observed: np.ndarray, written: np.ndarray
) -> Covariate:
    if covariate.role == "static" or covariate.kind == "holiday":
        return covariate
    values, labels = covariate.values, covariate.labels
    blank = np.isnan(values)
    if "" in labels:
        blank |= values == labels.index("")
    if blank.all():
        return covariate
    days = dates[~blank]
    within = observed & (dates >= days.min()) & (dates <= days.max())
    share = blank[within].mean() if within.any() else 0.0
    if share <= MOST:
        return covariate
    if covariate.kind == "number":
        log.warning(
            "covariate_mostly_blank",
            name=covariate.name,
            share=round(float(share), 2),
            advice="blank is unknown; write 0 where it means none",
        )
        return covariate
    if covariate.kind == "event" and (values[~blank] == 0).any():
        return covariate
    log.info("covariate_blank_is_none", name=covariate.name, share=round(float(share), 2))
    if covariate.kind == "category" and "" not in labels:
        labels, values = ("", *labels), values + 1
    none = float(labels.index("")) if covariate.kind == "category" else 0.0
    here = np.isnan(values) & written & (dates >= days.min())
    return replace(covariate, values=np.where(here, none, values), labels=labels)


def fill_planned(planned: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return planned rows whose blanks mean none where they do so in the history.

    An event whose planned days have no 0 is 0 on the other rows; a category with the label "" in
    the history is "" where nothing is planned.

    Args:
        planned: rows of a canonical table.
        history: canonical.
    """
    filled: dict[str, pd.Series] = {}
    for name in ("evento_especial", *covariate_columns(planned.columns)):
        kind = "event" if name == "evento_especial" else split_column(name)[1]
        cells = planned[name]
        if kind == "event":
            filled[name] = fill_event(cells)
        if kind == "category" and name in history and (history[name] == "").any():
            filled[name] = cells.fillna("")
    return planned.assign(**filled)


def fill_event(cells: pd.Series) -> pd.Series:
    """Return planned cells of an event, 0 where they are blank and no cell is 0."""
    is_marked = cells.notna().any() and not (cells == 0).any()
    return cells.fillna(0.0) if is_marked else cells
