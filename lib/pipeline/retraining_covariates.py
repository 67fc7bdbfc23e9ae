"""Gathers the covariates of days that a retraining learns from: as forecasts were sent them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from lib.data import as_categories, covariate_columns, split_column
from lib.features import FEATURES
from lib.storage import Store, predictions

ROWS = 1_000  # of forecasts that are held at a time
_OF_FEATURES = ("fator_externo", "evento_especial")


def read_sent_covariates(
    store: Store, days: Sequence[tuple[str, date]], columns: Iterable[str]
) -> dict[str, np.ndarray | pd.Series]:
    """Return what forecasts were sent of these days, by the columns of a canonical table.

    A forecast stores the covariates of its last known days. Of several about one day, the last one
    that knows a covariate counts.

    Args:
        store: the database.
        days: (n,) series and day.
        columns: of the table, of which covariates other than static ones and holidays count.

    Returns:
        Columns (n,) of numbers, NaN where unknown, or text.
    """
    sent = _read_days(store, {name for name, _ in days}, min(day for _, day in days))
    cells = {name: [sent[key].get(name) for key in days] for name in _OF_FEATURES}
    result: dict[str, np.ndarray | pd.Series] = {n: _numbers(c) for n, c in cells.items()}
    for column in covariate_columns(columns):
        role, kind, name, _ = split_column(column)
        if role != "static" and kind != "holiday":
            of_days = [sent[key].get(name) for key in days]
            is_text = kind == "category"
            result[column] = _categories(of_days) if is_text else _numbers(of_days)
    return result


def _read_days(
    store: Store, names: set[str], first: date
) -> Mapping[tuple[str, date], Mapping[str, Any]]:
    """Return the known covariates of series and day, from a day on, by the user's names."""
    column = predictions.c
    columns = (column.features, column.covariates, column.recent)
    query = sa.select(column.series_id, column.first_date, *columns).where(
        column.model_name == store.model_name,
        column.series_id.is_not(None),
        column.features.is_not(None),
        column.first_date > first,  # older ones are learned from already
    )
    places = {name: FEATURES.index(name) for name in _OF_FEATURES}
    days: dict[tuple[str, date], dict[str, Any]] = defaultdict(dict)
    query = query.order_by(column.id).execution_options(yield_per=ROWS)
    with store.reading() as connection:
        for name, begin, features, last, recent in connection.execute(query):
            if name not in names:
                continue
            # Those of the last day alone, in rows of earlier programs.
            cells = (last or {}) | {n: features[i] for n, i in places.items()}
            by_name = {key: [cell] for key, cell in cells.items()} | (recent or {})
            for key, column_cells in by_name.items():
                for back, cell in enumerate(reversed(column_cells), start=1):
                    if cell is not None:
                        days[name, begin - timedelta(days=back)][key] = cell
    return days


def _numbers(cells: Sequence[Any]) -> np.ndarray:
    """Return numbers, NaN for what is none, as a category of a model that took it for one."""
    return pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)


def _categories(cells: Sequence[Any]) -> pd.Series:
    texts = [f"{cell:.15g}" if isinstance(cell, float) else cell for cell in cells]
    return as_categories(pd.Series(texts, dtype=object))
