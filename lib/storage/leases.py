"""What only one may do at a time, among all processes and hosts that share a database.

A lease is a row with an owner and an end, which a heartbeat moves on. Whoever finds the end past
takes it over, and at once where the owner is a process of this machine that is gone: a crash
leaves nothing locked.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
import structlog

from lib import locks
from lib.storage.database import Store, StoreError, exclusive_transaction, utcnow
from lib.storage.tables import leases

log = structlog.get_logger()


class Lease:
    """The right to do what `name` says. `lost` is set when it is no longer this process's."""

    def __init__(self, store: Store, name: str, *, seconds: float = 60.0) -> None:
        """`seconds` from the last heartbeat to where another may take over, on any machine."""
        self.name = name
        self.owner = process_name()
        self.lost = threading.Event()
        self._store = store
        self._length = timedelta(seconds=seconds)

    def take(self, *, unless_since: datetime | None = None) -> bool:
        """Take it if it is free. → whether it is this process's now. Raises StoreError.

        With `unless_since` not where anybody has taken it since then, even if it is free again:
        what is due once at that time, in several processes, is done once.
        """
        with self._store.writing() as connection:
            exclusive_transaction(connection)
            now = _now(connection)
            row = connection.execute(sa.select(leases).where(leases.c.name == self.name)).first()
            if row is not None:
                if unless_since is not None and row.taken_at >= unless_since:
                    return False
                # One that ends later than any that is given out: the clock was set back.
                held = row.owner is not None and now <= row.until <= now + 2 * self._length
                if held and row.owner != self.owner and not is_dead(row.owner):
                    return False
                if held:
                    log.warning("lease taken over", name=self.name, from_owner=row.owner)
            values = {"owner": self.owner, "taken_at": now, "until": now + self._length}
            if row is None:
                connection.execute(leases.insert().values(name=self.name, **values))
            else:
                connection.execute(
                    leases.update().where(leases.c.name == self.name).values(**values)
                )
        return True

    def renew(self) -> bool:
        """Move its end on. → whether it was still this process's. Raises StoreError."""
        with self._store.writing() as connection:
            until = _now(connection) + self._length
            kept = connection.execute(self._mine().values(until=until)).rowcount == 1
        if not kept:
            self.lost.set()
        return kept

    def release(self) -> None:
        """Give it back. Raises StoreError; it ends by itself then."""
        with self._store.writing() as connection:
            connection.execute(self._mine().values(owner=None))

    def _mine(self) -> sa.Update:
        return leases.update().where(leases.c.name == self.name, leases.c.owner == self.owner)


@contextmanager
def held(
    store: Store, name: str, *, seconds: float = 60.0, unless_since: datetime | None = None
) -> Generator[Lease | None]:
    """A lease, kept up in the background until the end of the block; None where another has it.

    The block watches `lost`: a machine that slept, or was cut off from the database for
    `seconds`, may find that another has taken over. Raises StoreError.
    """
    lease = Lease(store, name, seconds=seconds)
    if not lease.take(unless_since=unless_since):
        yield None
        return
    over = threading.Event()

    def keep() -> None:
        renewed = time.monotonic()
        while not over.wait(seconds / 6):
            try:
                if not lease.renew():
                    return
                renewed = time.monotonic()
            except StoreError as error:
                log.warning("lease not renewed", name=name, error=str(error))
                if time.monotonic() - renewed >= seconds:
                    lease.lost.set()
                    return

    keeper = threading.Thread(target=keep, name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        over.set()
        keeper.join()
        with suppress(StoreError):
            lease.release()


def process_name() -> str:
    """A name no other process has or will have: machine, number, its start, and a random part."""
    pid = os.getpid()
    return f"{_machine()}:{pid}:{_started(pid)}:{uuid4().hex[:8]}"


def is_dead(process: str) -> bool:
    """Whether a process of this machine, by its name, is gone for certain."""
    machine, pid, started, _ = process.rsplit(":", 3)
    if machine != _machine() or not Path("/proc/self/stat").exists():
        return False
    return _started(int(pid)) != int(started)


def _machine() -> str:
    """The name of this machine, and what tells it from others of the same name."""
    return f"{socket.gethostname()}/{locks.host_identity()}"


def _started(pid: int) -> int:
    """When a process was started, in ticks since the machine was; 0 for none, or a zombie."""
    try:
        # The name, in brackets, may hold anything: count from behind it.
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if stat[0] in "ZX" else int(stat[19])


def _now(connection: sa.Connection) -> datetime:
    """The time; the server's own where there is one, as the clocks of hosts differ."""
    if connection.dialect.name != "postgresql":
        return utcnow()
    return connection.execute(sa.select(sa.func.now())).scalar_one()
