"""Store actuals: the observed values that forecasts are compared with.

The forecast day is the key, so sending an actual again changes nothing. Another value for the same
key is a correction: the last one counts, and the one it replaced is stored beside it. An actual is
stored whether or not a forecast of its day is; the answer says which.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa

from lib.features import MAX_HORIZON
from lib.storage import Store, actuals, corrections, exclusive_transaction, predictions, utcnow
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
        matched = _match(connection, items)
    with store.writing() as connection:
        exclusive_transaction(connection)  # or two requests could both add the same key
        before = _values(connection, [item.key for item in items])
        status = {item.key: _status(item, before) for item in items}
        _insert(connection, [item for item in items if status[item.key] == "added"])
        _correct(connection, [item for item in items if status[item.key] == "corrected"], before)
    results = [
        ActualKept(status=status[item.key], matched=is_matched)
        for item, is_matched in zip(items, matched, strict=True)
    ]
    counts = Counter(result.status for result in results)
    return ActualsKept(
        added=counts["added"],
        corrected=counts["corrected"],
        unchanged=counts["unchanged"],
        unmatched=matched.count(False),
        results=results,
    )


def _status(item: Actual, before: dict[str, float]) -> Status:
    if item.key not in before:
        return "added"
    return "unchanged" if before[item.key] == item.value else "corrected"


def _insert(connection: sa.Connection, items: list[Actual]) -> None:
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
        }
        for item in items
    }
    if rows:
        connection.execute(actuals.insert(), list(rows.values()))


def _correct(connection: sa.Connection, items: list[Actual], before: dict[str, float]) -> None:
    now, values = utcnow(), {item.key: item.value for item in items}
    if not values:
        return
    replaced = [{"key": k, "value": before[k], "replaced_at": now} for k in values]
    connection.execute(corrections.insert(), replaced)
    for key, value in values.items():
        row = actuals.update().where(actuals.c.key == key)
        connection.execute(
            row.values(value=value, updated_at=now, corrections=actuals.c.corrections + 1)
        )


def _match(connection: sa.Connection, items: list[Actual]) -> list[bool]:
    """Tell for each actual whether a stored forecast is about it."""
    kept = predictions.c
    traces = {item.trace_id for item in items if item.trace_id is not None}
    # The trace of a /forecast does not say which series and day is meant.
    of_one = sa.select(kept.trace_id).where(kept.trace_id.in_(traces), kept.series_id.is_(None))
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
    by_day = set(connection.scalars(_within_forecasts(days))) if days else set()
    return [item.trace_id in known or i in by_day for i, item in enumerate(items)]


def _within_forecasts(days: list[tuple[Any, ...]]) -> sa.Select[Any]:
    """Select the numbers of the days that a forecast is about.

    Args:
        days: (number, series, earliest first day of its forecasts, day).
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
        kept.series_id == sent.series_id,
        kept.first_date >= sent.earliest,
        kept.first_date <= sent.day,
        kept.last_date >= sent.day,
    )
    return sa.select(sent.number).where(about.exists())


def _values(connection: sa.Connection, keys: list[str]) -> dict[str, float]:
    stored = sa.select(actuals.c.key, actuals.c.value).where(actuals.c.key.in_(keys))
    return {row.key: row.value for row in connection.execute(stored)}
