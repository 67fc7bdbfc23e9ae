"""What the store forgets, and when."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from lib.storage.database import Store, in_batches, utcnow
from lib.storage.tables import alerts, checks, corrections, predictions


def purge(store: Store, days: float) -> dict[str, int]:
    """Delete what is older than so many days; 0 keeps all. → rows deleted, by table.

    Predictions by their making, checks likewise, alerts by their end (an open one stays), what an
    actual said before it was corrected by its correction. Actuals themselves are kept: they are
    what later models learn from. Raises StoreError.
    """
    if not days:
        return {}
    old = utcnow() - timedelta(days=days)
    outdated: tuple[tuple[sa.Table, sa.Column], ...] = (
        (predictions, predictions.c.created_at),
        (checks, checks.c.made_at),
        (alerts, alerts.c.ended_at),
        (corrections, corrections.c.replaced_at),
    )
    return {
        table.name: in_batches(store, table.delete(), table.c.id, at < old)
        for table, at in outdated
    }
