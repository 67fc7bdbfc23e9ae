"""The database of the service, SQLite or PostgreSQL, with the tables of `lib.storage.tables`.

SQLite runs in WAL mode, so that readers never wait for a writer, and every transaction that may
write takes the write lock at its beginning: one that takes it later would fail at once where
another has written meanwhile, however long the busy timeout is.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from lib.settings import Settings
from lib.storage.tables import (
    REVISION,
    VERSION_TABLE,
    alerts,
    checks,
    corrections,
    predictions,
)

DEFAULT_NAME = Settings.model_fields["registered_model_name"].default
SKEW = timedelta(hours=1)  # that clocks of hosts may differ; beyond it one was set back
_WRITE_LOCK = 0x4C53544D  # key of the advisory lock that stands in for SQLite's write lock
_BATCH = 500  # rows a transaction, where many are changed
_SILENT_SECONDS = 30  # without an answer, after which a connection to the server is given up


class StoreError(RuntimeError):
    """The database cannot be used; the message says why, without values or passwords."""


class Store:
    """A database, opened at first use. May be shared by threads, not by forked processes."""

    def __init__(
        self, url: str, *, busy_seconds: float = 5.0, model_name: str = DEFAULT_NAME
    ) -> None:
        """Prepare a database.

        Args:
            url: of the database, for SQLAlchemy.
            busy_seconds: how long a call may wait for another one that writes.
            model_name: registered name of the model whose rows are read and written.
        """
        self.url = sa.make_url(url)
        self.model_name = model_name
        self._busy = busy_seconds
        self._ready = False
        self._opening = threading.Lock()
        self._engine: sa.Engine | None = None

    @classmethod
    def of(cls, settings: Settings, *, busy_seconds: float = 5.0) -> Store:
        """Prepare the database of an installation, with the rows of its registered model."""
        name = settings.registered_model_name
        return cls(settings.database_url, busy_seconds=busy_seconds, model_name=name)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """Give a connection that sees one state of the database. Raises StoreError."""
        with self._connection(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Give a connection that writes: committed at the end, rolled back by an exception.

        Writers take turns, on SQLite as a whole and on PostgreSQL where they call
        `exclusive_transaction`. Raises StoreError, such as for a database that stays locked, or a
        full disk.
        """
        with self._connection(writes=True) as connection:
            yield connection

    def session(self) -> sa.Connection:
        """Open a session on the server that commits each statement; the caller closes it.

        It is outside the pool: closing it frees the advisory locks it holds. Raises StoreError.
        """
        try:
            connection = self._open().connect().execution_options(isolation_level="AUTOCOMMIT")
        except SQLAlchemyError as error:
            raise _store_error(self.url, error) from error
        connection.detach()
        return connection

    def close(self) -> None:
        """Close all connections; the next use opens the database again."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
            self._engine, self._ready = None, False

    @contextmanager
    def _connection(self, *, writes: bool) -> Generator[sa.Connection]:
        try:
            with self._open().connect() as connection:
                connection = connection.execution_options(writes=writes)
                if not writes and connection.dialect.name == "postgresql":
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    yield connection
        except SQLAlchemyError as error:
            raise _store_error(self.url, error) from error

    def _open(self) -> sa.Engine:
        with self._opening:
            if self._engine is None:
                self._engine = _engine(self.url, self._busy)
            if not self._ready:
                self._make_tables(self._engine)
                self._ready = True
            return self._engine

    def _make_tables(self, engine: sa.Engine) -> None:
        """Make or migrate the tables. Of several processes that start at once, one does it."""
        with engine.connect() as connection:
            if sa.inspect(connection).has_table(VERSION_TABLE):
                revision = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
                if connection.scalar(revision) == REVISION:
                    return
        from lib.storage.migrations import upgrade  # alembic: half a second to import

        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            exclusive_transaction(connection)
            try:
                upgrade(connection, self.model_name)
            except ValueError as error:
                raise StoreError(
                    f"{_masked(self.url)} has tables of version {error}, this program expects "
                    f"version {REVISION} or earlier: use the program that made them, or another "
                    "DATABASE_URL"
                ) from error


def exclusive_transaction(connection: sa.Connection) -> None:
    """Keep out other exclusive transactions until this one ends.

    On SQLite every transaction that writes is exclusive already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))


def in_batches(
    store: Store, change: sa.Update | sa.Delete, key: sa.Column[Any], which: sa.ColumnElement[bool]
) -> int:
    """Change or delete rows in batches, so that no other writer waits for long.

    Args:
        store: the database.
        change: the statement without its condition.
        key: primary key of its table.
        which: the rows to change; must no longer hold for a row that was updated.

    Returns:
        The number of rows.

    Raises:
        StoreError: the database cannot be used; earlier batches are committed.
    """
    batch, total = sa.select(key).where(which).limit(_BATCH), 0
    while True:
        with store.writing() as connection:
            count = connection.execute(change.where(key.in_(batch))).rowcount
        total += count
        if count < _BATCH:
            return total


def purge(store: Store, days: float) -> dict[str, int]:
    """Delete rows of this model older than so many days; return their number by table.

    0 days keep all. Corrections, like actuals, belong to all models of the database.
    Predictions and checks age from when they were made, alerts from their end (an open one
    stays), corrections from when they replaced a value. Actuals are kept: later models learn from
    them. Raises StoreError.
    """
    if not days:
        return {}
    limit = utcnow() - timedelta(days=days)
    ages: tuple[tuple[sa.Table, sa.Column], ...] = (
        (predictions, predictions.c.created_at),
        (checks, checks.c.made_at),
        (alerts, alerts.c.ended_at),
        (corrections, corrections.c.replaced_at),
    )
    deleted = {}
    for table, aged_from in ages:
        which = aged_from < limit
        if "model_name" in table.c:
            which &= table.c.model_name == store.model_name
        deleted[table.name] = in_batches(store, table.delete(), table.c.id, which)
    return deleted


def utcnow() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def _engine(url: sa.URL, busy_seconds: float) -> sa.Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return _server(url, busy_seconds)
        engine = sa.create_engine(
            url,
            hide_parameters=True,
            connect_args={"timeout": busy_seconds, "isolation_level": None},
        )
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise StoreError(
            f"DATABASE_URL: {_masked(url)} cannot be opened ({error}). SQLite needs nothing; for "
            'PostgreSQL: pip install "psycopg[binary]"'
        ) from error

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, record: object) -> None:
        _use_wal(connection, busy_seconds)
        # Safe from a killed process; a power cut may cost the last transactions, never the file.
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _server(url: sa.URL, busy_seconds: float) -> sa.Engine:
    # Without them a connection to a host that is gone hangs for a quarter of an hour.
    defaults = {
        "connect_timeout": math.ceil(busy_seconds),
        "keepalives_idle": _SILENT_SECONDS // 3,
        "keepalives_interval": _SILENT_SECONDS // 6,
        "keepalives_count": 4,
        "tcp_user_timeout": 1000 * _SILENT_SECONDS,
    }
    options = {name: value for name, value in defaults.items() if name not in url.query}
    engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: object) -> None:
        # The busy time of SQLite, for row locks and exclusive transactions.
        connection.execute(f"SET lock_timeout = {round(busy_seconds * 1000)}")
        connection.execute("SET TIME ZONE 'UTC'")  # a time that is cast to text has no other
        connection.commit()

    return engine


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Put the file into WAL mode. The first change ignores the busy timeout, so it is retried."""
    until = time.monotonic() + busy_seconds
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _store_error(url: sa.URL, error: SQLAlchemyError) -> StoreError:
    reason = getattr(error, "orig", None) or error
    # PostgreSQL's other lines show the values of the row.
    message = getattr(getattr(reason, "diag", None), "message_primary", None) or reason
    return StoreError(f"{_masked(url)}: {type(reason).__name__}: {message}")


def _masked(url: sa.URL) -> str:
    return url.render_as_string(hide_password=True)
