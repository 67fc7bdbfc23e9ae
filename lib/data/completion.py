"""Complete the rows of a series table: every day from first to last, with its holidays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data.covariate_cells import fill_static
from lib.data.covariates import Covariate, read_covariates
from lib.data.grouped_rows import GroupedRows
from lib.data.holidays import add_holidays, mark_holidays
from lib.data.panel import SERIES_COLUMNS, Panel
from lib.data.planned import is_planned
from lib.data.series_tables import to_table

NUMBER_COLUMNS = SERIES_COLUMNS[2:]


def complete_days(table: pd.DataFrame, rows: GroupedRows) -> Panel:
    """Return the panel of rows whose days go up, with missing values on missing days."""
    first, last = rows.day[rows.starts], rows.day[np.append(rows.starts[1:], len(rows.day)) - 1]
    lengths = last - first + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    at = offsets[rows.codes] + rows.day - first[rows.codes]
    columns = {}
    for name in NUMBER_COLUMNS:
        columns[name] = np.full(offsets[-1], np.nan)
        columns[name][at] = table[name].to_numpy()[rows.order]
    days = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
    return Panel(
        ids=tuple(rows.ids),
        offsets=offsets,
        dates=days.astype("datetime64[D]"),
        values=columns["value"],
        factor=columns["fator_externo"],
        event=columns["evento_especial"],
        covariates=tuple(
            _complete_covariate(covariate, rows, at, lengths)
            for covariate in read_covariates(table)
        ),
    )


def _complete_covariate(
    covariate: Covariate, rows: GroupedRows, at: np.ndarray, lengths: np.ndarray
) -> Covariate:
    """Return a covariate of the rows of a table for all days of its series.

    Args:
        covariate: of the rows, in the order of the table.
        rows: of the table.
        at: (N,) the day of each row, in the order of `rows`.
        lengths: (S,) days of each series.
    """
    if covariate.role == "static":
        codes = np.empty(len(rows.codes), dtype=np.int64)
        codes[rows.order] = rows.codes
        values = np.repeat(fill_static(covariate, codes, rows.ids, rows.source), lengths)
    else:
        values = np.full(lengths.sum(), np.nan)
        values[at] = covariate.values[rows.order]
        if covariate.kind == "holiday":  # days without a row are ordinary ones, as far as is known
            values[np.isnan(values)] = (
                covariate.labels.index("") if "" in covariate.labels else np.nan
            )
    return replace(covariate, values=values)


def _mark_history(panel: Panel, country: str, state: str) -> np.ndarray:
    """Return the public holidays as events, unknown on the blank rows at the end of a series.

    There an event would make planned days of missing values. (N,).
    """
    holidays = mark_holidays(panel, country, state)
    blank = is_planned(replace(panel, event=holidays)) & ~is_planned(panel)
    return np.where(blank, np.nan, holidays)


def with_holidays(panel: Panel, country: str, state: str, *, fill_events: bool) -> pd.DataFrame:
    """Return the canonical table of a panel, with the holidays of a country.

    Args:
        panel: without them.
        country: "" for none.
        state: of the country.
        fill_events: whether they are also the events.
    """
    if country:
        panel = add_holidays(panel, country, state)
        if fill_events:
            panel = replace(panel, event=_mark_history(panel, country, state))
    return to_table(panel)
