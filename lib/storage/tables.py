"""The tables of `lib.storage.database`, as this program expects them.

What makes them, and brings an older database here, are the steps in `lib/storage/migrations/versions`: a
change here needs a step there, and a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

REVISION = "0002"  # of the last step in lib/storage/migrations/versions
VERSION_TABLE = "store_version"  # not alembic's default: MLflow and Optuna may share the database
metadata = sa.MetaData()
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


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
        """SQLite's has the zone put back; PostgreSQL's comes in the zone of the session."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# One row a forecast of one series. What `/predict` was asked names neither series nor day: its
# rows have no series_id, and `body` as it was sent, so that it can be explained later.
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id", _Id, primary_key=True),
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
    # The eleven features of the last known day, in the order of lib.features.engineering.FEATURES, null where
    # missing. SQL's NULL in rows of before there was this column.
    sa.Column("features", sa.JSON(none_as_null=True)),
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
    sa.Column("updated_at", Utc, nullable=False, index=True),
    sa.Column("corrections", sa.Integer, nullable=False, default=0),
    sa.Index("actuals_days", "series_id", "date"),
)
# What actuals said before they were corrected.
corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("key", sa.String(300), nullable=False, index=True),  # of actuals
    sa.Column("value", sa.Float, nullable=False),  # that counted until then
    sa.Column("replaced_at", Utc, nullable=False, index=True),
)
# Explanations, and the queue of those that wait: see serving.explanations.
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
    sa.Column("lease_until", Utc),  # while running; of a queued one, not due before
    sa.Column("result", sa.JSON),
    sa.Column("plot", sa.LargeBinary),  # PNG
    sa.Column("error", sa.Text),
)
# Results of the checks of lib.monitoring.report, and of retrainings.
checks = sa.Table(
    "checks",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("made_at", Utc, nullable=False, index=True),
    sa.Column("kind", sa.String(40), nullable=False),  # such as accuracy, drift, retraining
    sa.Column("model_version", sa.Integer),
    sa.Column("status", sa.String(16), nullable=False),  # such as ok, alarm, failed
    sa.Column("result", sa.JSON, nullable=False),  # the numbers that made it
    sa.Index("checks_kind", "kind", "made_at"),
)
_OPEN = sa.text("ended_at IS NULL")
# One row an incident: what began, got worse perhaps, and ended.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("key", sa.String(200), nullable=False),  # what it is about
    sa.Column("severity", sa.String(16), nullable=False),  # info, warning, critical: now
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),  # as last found
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("last_seen", Utc, nullable=False),
    sa.Column("told_at", Utc),  # when anybody was last told anything
    sa.Column("ended_at", Utc, index=True),  # NULL while open
    sa.Column("deliveries", sa.JSON, nullable=False),  # channel → what it was told, and failures
    sa.Index("alerts_key", "key", "ended_at"),
    # Two checks at once may find the same: it is one incident.
    sa.Index("alerts_open", "key", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
)
# Who may do what only one may do at a time: see lib.storage.leases.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("owner", sa.String(256)),  # NULL while nobody has it
    sa.Column("taken_at", Utc, nullable=False),  # the last time
    sa.Column("until", Utc, nullable=False),
)
