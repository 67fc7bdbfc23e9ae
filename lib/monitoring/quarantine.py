"""Actuals in quarantine: implausible, left out everywhere, until a person has looked at them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from lib.monitoring.stored_actuals import Implausible
from lib.storage import Store, actuals, corrections, exclusive_transaction, utcnow

QUARANTINED, RELEASED = "quarantined", "released"


def quarantine(store: Store, found: Sequence[Implausible]) -> None:
    """Put actuals into quarantine that a check found implausible. Raises StoreError."""
    if not found:
        return
    kept = actuals.c
    with store.writing() as connection:
        exclusive_transaction(connection)
        for one in found:
            # Unless it was corrected or released since it was read.
            row = actuals.update().where(
                kept.series_id == one.series_id,
                kept.date == date.fromisoformat(one.date),
                kept.value == one.value,
                kept.quality.is_(None),
            )
            connection.execute(row.values(quality=QUARANTINED, reason=one.reason))


def count_quarantined(store: Store) -> int:
    """Count the actuals in quarantine. Raises StoreError."""
    query = sa.select(sa.func.count()).where(actuals.c.quality == QUARANTINED)
    with store.reading() as connection:
        return connection.execute(query).scalar_one()


def list_quarantined(store: Store, *, most: int = 1000) -> list[dict[str, Any]]:
    """Return the actuals in quarantine: key, value and reason, oldest first. Raises StoreError."""
    query = sa.select(actuals.c.key, actuals.c.value, actuals.c.reason)
    query = query.where(actuals.c.quality == QUARANTINED)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(actuals.c.updated_at).limit(most)).mappings()
        return [dict(row) for row in rows]


def release(store: Store, keys: Sequence[str]) -> int:
    """Believe these actuals from now on; return how many were in quarantine. Raises StoreError."""
    with store.writing() as connection:
        exclusive_transaction(connection)
        change = actuals.update().where(_in_quarantine(keys))
        return connection.execute(change.values(quality=RELEASED)).rowcount


def drop(store: Store, keys: Sequence[str]) -> int:
    """Delete these actuals; return how many were in quarantine.

    Their values stay among the corrections. Raises StoreError.
    """
    with store.writing() as connection:
        exclusive_transaction(connection)
        query = sa.select(actuals.c.key, actuals.c.value).where(_in_quarantine(keys))
        rows = connection.execute(query).all()
        if rows:
            replaced = [{"key": r.key, "value": r.value, "replaced_at": utcnow()} for r in rows]
            connection.execute(corrections.insert(), replaced)
            connection.execute(actuals.delete().where(_in_quarantine(keys)))
        return len(rows)


def _in_quarantine(keys: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(actuals.c.quality == QUARANTINED, actuals.c.key.in_(keys))
