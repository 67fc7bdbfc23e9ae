"""Panels of canonical series tables, and back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data.covariates import read_covariates, write_covariates
from lib.data.panel import SERIES_COLUMNS, Panel, SeriesError


def to_panel(table: pd.DataFrame) -> Panel:
    """Return the panel of a canonical series table, as `load` and `validate` give it.

    Args:
        table: the columns SERIES_COLUMNS and those of covariates (`lib.data.covariates`), sorted
            by series and day, without missing days.

    Raises:
        SeriesError: a column is missing, a series is in two places or a day is left out.
    """
    _check_columns(table)
    codes, ids = pd.factorize(table["series_id"])
    dates = table["date"].to_numpy().astype("datetime64[D]")
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    _check_contiguous(codes, ids, starts)
    _check_consecutive(dates, codes, ids, starts)
    value, factor, event = (table[name].to_numpy(np.float64) for name in SERIES_COLUMNS[2:])
    return Panel(
        ids=tuple(str(name) for name in ids),
        offsets=np.append(starts, len(table)).astype(np.int64),
        dates=dates,
        values=np.ascontiguousarray(value),
        factor=np.ascontiguousarray(factor),
        event=np.ascontiguousarray(event),
        covariates=read_covariates(table),
    )


def _check_columns(table: pd.DataFrame) -> None:
    missing = [name for name in SERIES_COLUMNS if name not in table.columns]
    if missing:
        raise SeriesError(
            f"series table: columns {missing} are missing, expected {list(SERIES_COLUMNS)}; "
            "pass the table through lib.data.validate first"
        )


def _check_contiguous(codes: np.ndarray, ids: pd.Index | np.ndarray, starts: np.ndarray) -> None:
    if len(starts) != len(ids):
        row = int(starts[np.flatnonzero(np.diff(codes[starts]) < 0)[0] + 1])
        raise SeriesError(
            f"series table: row {row} goes back to series {ids[codes[row]]!r}, expected the rows "
            "of each series together; pass the table through lib.data.validate first"
        )


def _check_consecutive(
    dates: np.ndarray, codes: np.ndarray, ids: pd.Index | np.ndarray, starts: np.ndarray
) -> None:
    steps = np.diff(dates.astype(np.int64))
    steps[starts[1:] - 1] = 1
    if (steps != 1).any():
        row = int(np.flatnonzero(steps != 1)[0]) + 1
        raise SeriesError(
            f"series table: row {row}, column 'date': {dates[row]} follows {dates[row - 1]} in "
            f"series {ids[codes[row]]!r}, expected consecutive days; pass the table through "
            "lib.data.validate, which adds missing days"
        )


def to_table(panel: Panel) -> pd.DataFrame:
    """Return the canonical series table of a panel: N rows, SERIES_COLUMNS, then covariates."""
    lengths = np.diff(panel.offsets)
    names = pd.Series(list(panel.ids), dtype="str")
    return pd.DataFrame(
        {
            "series_id": names.take(np.repeat(np.arange(panel.n_series), lengths)).array,
            "date": panel.dates.astype("datetime64[us]"),
            "value": panel.values,
            "fator_externo": panel.factor,
            "evento_especial": panel.event,
        }
        | write_covariates(panel.covariates)
    )
