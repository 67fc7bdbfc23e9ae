"""Gathers the actuals that a retraining learns from: plausible ones of days that the data lacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
import structlog

from lib.data import SERIES_COLUMNS, WINDOW_DAYS
from lib.monitoring import PAST_DAYS, find_implausible
from lib.pipeline.retraining_covariates import read_sent_covariates
from lib.storage import Store, actuals

GAP = 180  # days without an actual, after which the next one is taken for a typing error
log = structlog.get_logger()


def read_new_actuals(store: Store, table: pd.DataFrame, *, takes_unknown: bool) -> pd.DataFrame:
    """Return the actuals of days whose value the table lacks, with covariates that were sent.

    Args:
        store: the database.
        table: the data, by which the model knows its series.
        takes_unknown: whether actuals of other series count too.

    Returns:
        SERIES_COLUMNS, and the covariates of the table that change from day to day.
    """
    kept = actuals.c
    query = sa.select(kept.series_id, kept.date, kept.value, kept.quality)
    query = query.where(kept.series_id.is_not(None), kept.quality.is_distinct_from("quarantined"))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(kept.series_id, kept.date)).all()
        known = set(table["series_id"])
        unknown = {row.series_id for row in rows} - known
        if unknown and not takes_unknown:
            log.info("actuals of unknown series left out", series=sorted(unknown)[:10])
            rows = [row for row in rows if row.series_id in known]
    observed = table[table["value"].notna()]
    plausible = _plausible_rows(_believable(rows, observed), observed)
    short = _short_series(plausible, set(observed["series_id"]))
    if short:
        log.info("series too short to learn from yet", series=sorted(short)[:10])
    in_table = set(zip(observed["series_id"], observed["date"].dt.date, strict=True))
    used = [row for row in plausible if row[0] not in short and row[:2] not in in_table]
    log.info("actuals to learn from", used=len(used), stored=len(rows))
    if not used:
        return pd.DataFrame()
    frame = pd.DataFrame(used, columns=pd.Index(SERIES_COLUMNS[:3]))
    days = [(name, day) for name, day, _ in used]
    frame = frame.assign(**read_sent_covariates(store, days, table.columns))
    return frame.astype({"series_id": "str", "date": "datetime64[us]"})


def _believable(rows: Sequence[Any], observed: pd.DataFrame) -> list[Any]:
    """Return the actuals whose value is plausible beside the past of their series, or released.

    Args:
        rows: series, day, value and quality, by series and day.
        observed: the rows of the data that have a value.
    """
    if not rows:
        return []
    past = observed.sort_values("date").groupby("series_id").tail(PAST_DAYS)
    series = np.array([*past["series_id"], *(row.series_id for row in rows)], dtype=object)
    values = np.array([*past["value"], *(row.value for row in rows)], dtype=np.float64)
    believed = list(rows)
    for place, reason in reversed(find_implausible(series, values).items()):
        number = place - len(past)
        if number >= 0 and rows[number].quality != "released":
            name, day = rows[number].series_id, str(rows[number].date)
            log.warning("actual ignored: implausible", series_id=name, date=day, reason=reason)
            del believed[number]
    return believed


def _plausible_rows(rows: Sequence[Any], observed: pd.DataFrame) -> list[tuple[str, date, float]]:
    """Return the actuals from the first day of the data on, without far-off days.

    Args:
        rows: series, day and value, by series and day.
        observed: the rows of the data that have a value.
    """
    edges = observed.groupby("series_id")["date"].agg(["min", "max"])
    first: dict[str, date] = edges["min"].dt.date.to_dict()
    latest: dict[str, date] = edges["max"].dt.date.to_dict()
    plausible = []
    previous: dict[str, date] = {}
    for row in rows:
        name, day, value = row.series_id, row.date, row.value
        if day < first.get(name, day):
            continue  # the data begins later on purpose
        before = [days[name] for days in (previous, latest) if name in days]
        if before and (day - max(before)).days > GAP:
            log.warning("actual ignored: far from all others", series_id=name, date=str(day))
            continue
        previous[name] = day
        plausible.append((name, day, value))
    return plausible


def _short_series(rows: Sequence[tuple[str, date, float]], in_data: set[str]) -> set[str]:
    """Return the series that the data lacks and whose actuals do not fill a window yet."""
    days: dict[str, list[date]] = {}
    for name, day, _ in rows:
        days.setdefault(name, []).append(day)
    return {
        name
        for name, seen in days.items()
        if name not in in_data and (seen[-1] - seen[0]).days + 1 < WINDOW_DAYS
    }
