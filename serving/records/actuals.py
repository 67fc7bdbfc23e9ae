"""Store actuals: the observed values that forecasts are compared with.

The forecast day is the key, so sending an actual again changes nothing. Another value for the same
key is a correction: the last one counts, and the one it replaced is stored beside it. An actual is
stored whether or not a forecast of its day is; the answer says which. An implausible one is stored
in quarantine: nothing reads it until a person has released it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa

from lib.features import MAX_HORIZON
from lib.monitoring import PAST_DAYS, find_implausible
from lib.storage import (
    DEFAULT_NAME,
    Store,
    actuals,
    corrections,
    exclusive_transaction,
    predictions,
    utcnow,
)
from serving.schemas import Actual, ActualKept, ActualsKept

Status = Literal["added", "corrected", "unchanged"]


def store_actuals(store: Store, items: list[Actual]) -> ActualsKept:
    """Store actuals in one transaction.

    Args:
        store: the database.
        items: at most MAX_ACTUALS, no two with another value for the same key.

    Returns:
        What became of each, and the counts.

    Raises:
        StoreError: the database does not answer; then none is stored.
    """
    with store.reading() as connection:
        matched = _match(connection, items, store.model_name)
    with store.writing() as connection:
        exclusive_transaction(connection)  # or two requests could both add the same key
        before = _values(connection, [item.key for item in items])
        status = {item.key: _status(item, before) for item in items}
        doubts = _doubt(connection, items)
        _insert(connection, [item for item in items if status[item.key] == "added"], doubts)
        corrected = [item for item in items if status[item.key] == "corrected"]
        _correct(connection, corrected, before, doubts)
    results = [
        ActualKept(
            status=status[item.key],
            matched=is_matched,
            quarantined=item.key in doubts,
            reason=doubts.get(item.key, "") or ("" if is_matched else _why_unmatched(item)),
        )
        for item, is_matched in zip(items, matched, strict=True)
    ]
    counts = Counter(result.status for result in results)
    return ActualsKept(
        added=counts["added"],
        corrected=counts["corrected"],
        unchanged=counts["unchanged"],
        unmatched=matched.count(False),
        quarantined=sum(result.quarantined for result in results),
        results=results,
    )


def _why_unmatched(item: Actual) -> str:
    if item.trace_id is not None:
        return "no stored forecast has this trace_id"
    return "no stored forecast is about this series and day"


def _status(item: Actual, before: dict[str, float]) -> Status:
    if item.key not in before:
        return "added"
    return "unchanged" if before[item.key] == item.value else "corrected"


def _insert(connection: sa.Connection, items: list[Actual], doubts: Mapping[str, str]) -> None:
    now = utcnow()
    rows = {
        item.key: {
            "key": item.key,
            "trace_id": item.trace_id,
            "series_id": item.series_id,
            "date": item.date,
            "value": item.value,
            "created_at": now,
            "updated_at": now,
            "corrections": 0,
            **_quality(item.key, doubts),
        }
        for item in items
    }
    if rows:
        connection.execute(actuals.insert(), list(rows.values()))


def _doubt(connection: sa.Connection, items: list[Actual]) -> dict[str, str]:
    """Return the keys of the items that are implausible, or are in quarantine, with the reason.

    Each is judged beside the last actuals of its series and the other items. A released one that
    is sent again stays released.
    """
    kept, dated = actuals.c, [item.date for item in items if item.date is not None]
    keys = {item.key for item in items}
    past: list[tuple[str | None, float]] = []
    earlier: dict[str, Any] = {}
    if dated:
        since = date.fromordinal(max(1, min(dated).toordinal() - PAST_DAYS))
        names = {item.series_id for item in items if item.series_id is not None}
        query = sa.select(kept.series_id, kept.value, kept.key).where(
            kept.series_id.in_(names), kept.date >= since, kept.date <= max(dated)
        )
        past = [(row[0], row[1]) for row in connection.execute(query) if row[2] not in keys]
    judged = sa.select(kept.key, kept.value, kept.quality, kept.reason)
    query = judged.where(kept.key.in_(keys), kept.quality.is_not(None))
    earlier = {row.key: row for row in connection.execute(query)}
    # Each /predict is of a series of its own, as far as is known.
    series = [name for name, _ in past] + [item.series_id or item.key for item in items]
    values = np.array([value for _, value in past] + [item.value for item in items])
    found = find_implausible(np.array(series, dtype=object), values)
    doubts = {
        items[row - len(past)].key: reason for row, reason in found.items() if row >= len(past)
    }
    for item in items:
        row = earlier.get(item.key)
        if row is not None and row.value == item.value:
            doubts.pop(item.key, None)
            if row.quality == "quarantined":
                doubts[item.key] = row.reason or ""
    return doubts


def _quality(key: str, doubts: Mapping[str, str]) -> dict[str, str | None]:
    """Return the columns that say whether an actual is in quarantine, and why."""
    return {"quality": "quarantined" if key in doubts else None, "reason": doubts.get(key)}


def _correct(
    connection: sa.Connection,
    items: list[Actual],
    before: dict[str, float],
    doubts: Mapping[str, str],
) -> None:
    now, values = utcnow(), {item.key: item.value for item in items}
    if not values:
        return
    replaced = [{"key": k, "value": before[k], "replaced_at": now} for k in values]
    connection.execute(corrections.insert(), replaced)
    for key, value in values.items():
        row = actuals.update().where(actuals.c.key == key)
        connection.execute(
            row.values(
                value=value,
                updated_at=now,
                corrections=actuals.c.corrections + 1,
                **_quality(key, doubts),
            )
        )


def _match(
    connection: sa.Connection, items: list[Actual], model_name: str = DEFAULT_NAME
) -> list[bool]:
    """Tell for each actual whether a stored forecast is about it."""
    kept = predictions.c
    traces = {item.trace_id for item in items if item.trace_id is not None}
    # The trace of a /forecast does not say which series and day is meant.
    of_one = sa.select(kept.trace_id).where(
        kept.model_name == model_name, kept.trace_id.in_(traces), kept.series_id.is_(None)
    )
    known = set(connection.scalars(of_one.distinct())) if traces else set()
    days = [
        # No forecast is longer, so no earlier row is looked at.
        (
            i,
            item.series_id,
            date.fromordinal(max(1, item.date.toordinal() - MAX_HORIZON)),
            item.date,
        )
        for i, item in enumerate(items)
        if item.date is not None
    ]
    by_day = set(connection.scalars(_within_forecasts(days, model_name))) if days else set()
    return [item.trace_id in known or i in by_day for i, item in enumerate(items)]


def _within_forecasts(days: list[tuple[Any, ...]], model_name: str) -> sa.Select[Any]:
    """Select the numbers of the days that a forecast is about.

    Args:
        days: (number, series, earliest first day of its forecasts, day).
        model_name: registered name of the model that forecast.
    """
    columns = [
        sa.column("number", sa.Integer),
        sa.column("series_id", sa.String),
        sa.column("earliest", sa.Date),
        sa.column("day", sa.Date),
    ]
    sent = sa.values(*columns).data(days).cte("sent").c
    kept = predictions.c
    about = sa.select(kept.id).where(
        kept.model_name == model_name,
        kept.series_id == sent.series_id,
        kept.first_date >= sent.earliest,
        kept.first_date <= sent.day,
        kept.last_date >= sent.day,
    )
    return sa.select(sent.number).where(about.exists())


def _values(connection: sa.Connection, keys: list[str]) -> dict[str, float]:
    stored = sa.select(actuals.c.key, actuals.c.value).where(actuals.c.key.in_(keys))
    return {row.key: row.value for row in connection.execute(stored)}
