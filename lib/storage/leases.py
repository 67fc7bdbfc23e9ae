"""What only one process may do at a time, among all processes and hosts that share a database.

A lease is a PostgreSQL advisory lock, or the lock of a file beside the SQLite database. The server
or the kernel frees it when its holder dies, so a crash leaves nothing locked.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa
import structlog
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from lib.files import text_hash
from lib.storage.database import DEFAULT_NAME, SKEW, Store, StoreError, utcnow
from lib.storage.processes import process_name
from lib.storage.tables import leases

_PROBE_SECONDS = 5.0  # between two looks whether the connection that holds a lock is alive
_SILENT_SECONDS = 60  # without a sign of life, after which the server frees the lock of a host
_DATABASE_FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'"
log = structlog.get_logger()


class Lease:
    """The right to do what `name` stands for. `lost` is set when the database took it away.

    A lock on PostgreSQL is lost with its connection. One of a file is never lost.
    """

    def __init__(self, store: Store, name: str) -> None:
        """Prepare the lease `name` of the database; `acquire` takes it."""
        self.name = name
        self.lost = threading.Event()
        self._store = store
        self._lock: _Lock | None = None

    def acquire(self, *, unless_since: datetime | None = None) -> bool:
        """Take the lease if it is free, and return whether it was.

        Args:
            unless_since: leave the lease where any process has taken it since then, even if it is
                free again: several processes do what is due at that time only once.

        Raises:
            StoreError: the database cannot be used.
        """
        is_server = self._store.url.get_backend_name() == "postgresql"
        lock = (
            _AdvisoryLock(self._store, self.name, self.lost)
            if is_server
            else _DatabaseFileLock(self._store, self.name)
        )
        if not lock.acquire():
            return False
        try:
            is_due = self._record(unless_since)
        except BaseException:
            lock.release()
            raise
        if not is_due:
            lock.release()
            return False
        self._lock = lock
        return True

    def release(self) -> None:
        """Free the lease; without effect where it is not held."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _record(self, unless_since: datetime | None) -> bool:
        """Write who took the lease and when, unless it was taken since `unless_since`."""
        with self._store.writing() as connection:
            now = _now(connection)
            mine = leases.c.name == self.name
            taken_at = connection.scalar(sa.select(leases.c.taken_at).where(mine))
            # Later than now by more than clocks differ, it was taken before one was set back.
            if taken_at is not None and unless_since and unless_since <= taken_at < now + SKEW:
                return False
            values = {"owner": process_name(), "taken_at": now, "until": now}
            if taken_at is None:
                connection.execute(leases.insert().values(name=self.name, **values))
            else:
                connection.execute(leases.update().where(mine).values(**values))
        return True


def lease_of(store: Store, name: str) -> str:
    """Return the name of a lease that each registered model of a database has to itself."""
    if store.model_name == DEFAULT_NAME:
        return name
    return f"{name} {text_hash(store.model_name)[:16]}"  # a registered name may be longer than 40


@contextmanager
def held(
    store: Store, name: str, *, unless_since: datetime | None = None
) -> Generator[Lease | None]:
    """Hold a lease for the length of a block; None where another process has it.

    The block watches `lost`: where the connection to the server broke, another process may have
    taken over. Args and Raises are those of `Lease.acquire`.
    """
    lease = Lease(store, name)
    if not lease.acquire(unless_since=unless_since):
        yield None
        return
    try:
        yield lease
    finally:
        lease.release()


class _Lock(Protocol):
    def acquire(self) -> bool: ...

    def release(self) -> None: ...


class _DatabaseFileLock:
    """The lock of a file beside a SQLite database."""

    def __init__(self, store: Store, name: str) -> None:
        with store.reading() as connection:
            # SQLite knows the absolute path for any form of the URL.
            path = connection.scalar(sa.text(_DATABASE_FILE))
        if not path:
            raise StoreError("DATABASE_URL: a database in memory has no leases; name a file")
        # Not bound to a thread: a lease may be released by another one.
        self._lock = FileLock(f"{path}.{name}.lock", thread_local=False)

    def acquire(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise StoreError(f"{self._lock.lock_file}: {error.strerror}") from error
        return True

    def release(self) -> None:
        self._lock.release()


class _AdvisoryLock:
    """An advisory lock of a PostgreSQL session, with a thread that sees whether it is alive."""

    def __init__(self, store: Store, name: str, lost: threading.Event) -> None:
        self._store, self._name, self._lost = store, name, lost
        digest = hashlib.sha256(f"production-lstm {name}".encode()).digest()
        self._key = int.from_bytes(digest[:8], signed=True)
        self._connection: sa.Connection | None = None
        self._released = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"lease {name}", daemon=True)

    def acquire(self) -> bool:
        connection = self._store.session()
        try:
            _free_locks_of_silent_hosts(connection)
            taken = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(self._key)))
        except SQLAlchemyError as error:
            connection.close()
            raise StoreError(f"lease {self._name}: {type(error).__name__}") from error
        if not taken:
            connection.close()
            return False
        self._connection = connection
        self._watcher.start()
        return True

    def release(self) -> None:
        if self._connection is None:
            return
        self._released.set()
        self._watcher.join()
        # The end of the session frees the lock as well, but a moment later.
        with suppress(SQLAlchemyError):
            self._connection.execute(sa.select(sa.func.pg_advisory_unlock(self._key)))
        self._connection.close()
        self._connection = None

    def _watch(self) -> None:
        while not self._released.wait(_PROBE_SECONDS):
            try:
                if self._connection is not None:
                    self._connection.execute(sa.select(1))
            except SQLAlchemyError as error:
                log.warning("lease lost", name=self._name, error=type(error).__name__)
                self._lost.set()
                return


def _free_locks_of_silent_hosts(connection: sa.Connection) -> None:
    """Make the server notice within a minute that the host at the other end is gone."""
    for setting, value in (
        ("tcp_keepalives_idle", _SILENT_SECONDS // 2),
        ("tcp_keepalives_interval", _SILENT_SECONDS // 6),
        ("tcp_keepalives_count", 3),
        ("tcp_user_timeout", 1000 * _SILENT_SECONDS),
    ):
        connection.exec_driver_sql(f"SET {setting} = {value}")


def _now(connection: sa.Connection) -> datetime:
    """Return the time, the server's where there is one: the clocks of hosts differ."""
    if connection.dialect.name != "postgresql":
        return utcnow()
    return connection.execute(sa.select(sa.func.now())).scalar_one()
