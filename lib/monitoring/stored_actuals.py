"""Read the stored actuals of some days, as tables, without those that are implausible."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import sqlalchemy as sa

from lib.monitoring.arrival_rows import is_trusted, midnight
from lib.monitoring.plausibility import LARGEST, find_implausible
from lib.storage import actuals, predictions


@dataclass(frozen=True)
class Implausible:
    """An actual that its series' past does not let expect. `date` is an ISO day."""

    series_id: str
    date: str
    value: float
    reason: str


def read_history(
    connection: sa.Connection, start: date, end: date, names: pd.Series | None
) -> pd.DataFrame:
    """Read the actuals of these days, of all series (`names` is None) or of some."""
    kept = actuals.c
    query = sa.select(kept.series_id, sa.cast(kept.date, sa.Text), kept.value, kept.quality)
    query = query.where(
        kept.series_id.is_not(None), kept.date >= start, kept.date <= end, is_trusted()
    )
    if names is not None:
        query = query.where(kept.series_id.in_(sorted(set(names))))
    # tuples of the driver: SQLAlchemy's rows would take as long again, and nothing is to convert
    cursor = connection.execute(query).cursor
    rows = cursor.fetchall() if cursor else ()
    # by column: `zip(*rows)` of half a million rows takes as long as reading them
    ids, dates, values, quality = ([row[i] for row in rows] for i in range(4))
    return pd.DataFrame(
        {
            "series_id": pd.Categorical(np.array(ids, dtype=object)),
            "date": np.array(dates, dtype="datetime64[D]").astype("datetime64[s]"),
            "value": np.array(values, dtype=np.float64),
            "released": np.array([one is not None for one in quality], dtype=bool),
        }
    )


def leave_out_implausible(read: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Implausible, ...]]:
    """Split actuals into those to use and those that are implausible and were not released."""
    history = read.drop(columns="released")
    values = history["value"].to_numpy()
    doubts = find_implausible(history["series_id"].cat.codes.to_numpy(), values)
    released = read["released"].to_numpy()
    doubted = [row for row in doubts if not released[row]]
    names, days = history["series_id"], history["date"].to_numpy().astype("datetime64[D]")
    found = tuple(
        Implausible(str(names.iloc[row]), str(days[row]), float(values[row]), doubts[row])
        for row in doubted
    )
    if not doubted:
        return history, ()
    return history.drop(index=doubted).reset_index(drop=True), found


def read_actuals_by_trace(
    connection: sa.Connection, model_name: str, start: date, end: date
) -> dict[str, float]:
    """Return the actuals of forecasts without a series, by trace."""
    kept = predictions.c
    query = sa.select(actuals.c.trace_id, actuals.c.value)
    query = query.join(predictions, kept.trace_id == actuals.c.trace_id)
    query = query.where(
        actuals.c.trace_id.is_not(None),
        is_trusted(),
        kept.model_name == model_name,
        kept.first_date.is_(None),
        kept.created_at >= midnight(start - timedelta(days=1)),
        kept.created_at < midnight(end + timedelta(days=1)),
    )
    rows = connection.execute(query)
    return {row.trace_id: row.value for row in rows if abs(row.value) <= LARGEST}
