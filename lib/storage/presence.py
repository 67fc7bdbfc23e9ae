"""Processes that show themselves: others see whether any that does a kind of work runs."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from lib.storage.database import SKEW, Store, exclusive_transaction, utcnow
from lib.storage.tables import leases


def show_presence(store: Store, name: str, owner: str, *, seconds: float) -> None:
    """Let others know that a process does the work `name`, for so many seconds from now.

    Args:
        store: the database.
        name: of the work, as of a lease.
        owner: name of the process.
        seconds: 0 where the process leaves; one that has shown itself later stays.

    Raises:
        StoreError: the database does not answer.
    """
    now, mine = utcnow(), leases.c.name == name
    row = {"owner": owner, "taken_at": now, "until": now + timedelta(seconds=seconds)}
    with store.writing() as connection:
        exclusive_transaction(connection)
        last = connection.execute(sa.select(leases.c.owner).where(mine)).first()
        if last is None:
            connection.execute(leases.insert().values(name=name, **row))
        elif seconds or last.owner == owner:
            connection.execute(leases.update().where(mine).values(**row))


def is_present(connection: sa.Connection, name: str) -> bool:
    """Tell whether any process that does the work `name` has shown itself."""
    shown = sa.select(leases.c.taken_at, leases.c.until).where(leases.c.name == name)
    row, now = connection.execute(shown).first(), utcnow()
    return row is not None and row.until > now and row.taken_at < now + SKEW
