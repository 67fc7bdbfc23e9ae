"""The tables of the service: predictions, actuals, explanations. SQLite or PostgreSQL.

SQLite runs in WAL mode, so that readers never wait for a writer, and every transaction that may
write takes the write lock at its beginning: one that takes it later would fail at once where
another has written meanwhile, however long the busy timeout is.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

SCHEMA_VERSION = 1
_LOCK = 0x4C53544D  # the key of PostgreSQL's advisory lock, which stands in for SQLite's

metadata = sa.MetaData()


class StoreError(RuntimeError):
    """The database cannot do what was asked; the message says why, without values or passwords."""


class Utc(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC; SQLite would hand it back without its zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected a time with a zone, got {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """The zone is put back."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


schema = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, nullable=False))

# One row a forecast of one series. What `/predict` was asked names neither series nor day: its
# rows have no series_id, and `body` as it was sent, so that it can be explained later.
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    # Not unique: a caller may send several requests of one trace.
    sa.Column("trace_id", sa.String(64), nullable=False, index=True),
    sa.Column("created_at", Utc, nullable=False, index=True),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("series_id", sa.String(256)),
    sa.Column("first_date", sa.Date),  # the first forecast day
    sa.Column("last_date", sa.Date),
    sa.Column("levels", sa.JSON, nullable=False),  # (quantiles,)
    sa.Column("quantiles", sa.JSON, nullable=False),  # (days, quantiles), raw units
    sa.Column("body", sa.LargeBinary),
    sa.Index("predictions_days", "series_id", "first_date"),
)

actuals = sa.Table(
    "actuals",
    metadata,
    # What it is the truth of, as one string: either the trace or the series and the day.
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("trace_id", sa.String(64), index=True),
    sa.Column("series_id", sa.String(256)),
    sa.Column("date", sa.Date),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("updated_at", Utc, nullable=False),
    sa.Column("corrections", sa.Integer, nullable=False, default=0),
    sa.Index("actuals_days", "series_id", "date"),
)

# The truth about explanations: the queue only says that there may be something to do.
explanations = sa.Table(
    "explanations",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # hash of what is explained, and by what
    sa.Column("status", sa.String(8), nullable=False, index=True),  # queued running done failed
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # of /predict, canonical JSON
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("started_at", Utc),
    sa.Column("finished_at", Utc, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("worker", sa.String(256)),  # that has it, while running
    sa.Column("lease_until", Utc),
    sa.Column("result", sa.JSON),
    sa.Column("plot", sa.LargeBinary),  # PNG
    sa.Column("error", sa.Text),
)


class Store:
    """A database, opened at first use. May be shared by threads, not by forked processes."""

    def __init__(self, url: str, *, busy_seconds: float = 5.0) -> None:
        """`busy_seconds`: how long a call may wait for another that is writing."""
        self.url = sa.make_url(url)
        self._busy = busy_seconds
        self._ready = False
        self._opening = threading.Lock()
        self._engine: sa.Engine | None = None

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A connection that sees one state of the database. Raises StoreError."""
        with self._connection(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """A connection that writes: committed at the end, undone by an exception.

        Writers take turns, on SQLite as a whole and on PostgreSQL where they call `alone`.
        Raises StoreError, such as for a database that stays locked, or a full disk.
        """
        with self._connection(writes=True) as connection:
            yield connection

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
                with connection.begin():
                    yield connection
        except SQLAlchemyError as error:
            raise _worded(self.url, error) from error

    def _open(self) -> sa.Engine:
        with self._opening:
            if self._engine is None:
                self._engine = _engine(self.url, self._busy)
            if not self._ready:
                self._make_tables(self._engine)
                self._ready = True
            return self._engine

    def _make_tables(self, engine: sa.Engine) -> None:
        """Make what is missing. Several processes may start at once: one makes, the rest find."""
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            alone(connection)
            metadata.create_all(connection)
            found = connection.execute(sa.select(schema.c.version)).scalar()
            if found is None:
                connection.execute(schema.insert().values(version=SCHEMA_VERSION))
            elif found != SCHEMA_VERSION:
                raise StoreError(
                    f"{_shown(self.url)} has tables of version {found}, this program expects "
                    f"version {SCHEMA_VERSION}: use the program that made them, or another "
                    "DATABASE_URL"
                )


def alone(connection: sa.Connection) -> None:
    """Until the transaction ends, keep out others that ask for the same."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def utcnow() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def _engine(url: sa.URL, busy_seconds: float) -> sa.Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
        engine = sa.create_engine(
            url,
            hide_parameters=True,
            connect_args={"timeout": busy_seconds, "isolation_level": None},
        )
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise StoreError(
            f"DATABASE_URL: {_shown(url)} cannot be opened ({error}). SQLite needs nothing; for "
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


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """The mode stays with the file; its first change ignores the busy timeout, so it is retried."""
    until = time.monotonic() + busy_seconds
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _worded(url: sa.URL, error: SQLAlchemyError) -> StoreError:
    reason = getattr(error, "orig", None) or error
    return StoreError(f"{_shown(url)}: {type(reason).__name__}: {reason}")


def _shown(url: sa.URL) -> str:
    return url.render_as_string(hide_password=True)
