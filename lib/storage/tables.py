"""The tables of `lib.storage.database`, as this program expects them.

The migrations in `lib/storage/migrations/versions` make them, and upgrade an older database: a
change here needs a migration there, and a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

REVISION = "0006"  # of the last file in lib/storage/migrations/versions
VERSION_TABLE = "store_version"  # not alembic's default: MLflow and Optuna may share the database
metadata = sa.MetaData()
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _model_name() -> sa.Column[str]:
    """Return the column of the registered name; what omits it gets the one of the migration."""
    return sa.Column("model_name", sa.String(256), nullable=False)


class Utc(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC; SQLite would return it without its zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert to UTC. Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected a time with a zone, got {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Restore the zone of SQLite's time; convert PostgreSQL's from the zone of the session."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# One row a forecast of one series. A request to `/predict` names neither series nor day: its rows
# have no series_id, and keep the `body` as it was sent, so that it can be explained later.
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    # Not unique: a caller may send several requests of one trace.
    sa.Column("trace_id", sa.String(64), nullable=False, index=True),
    sa.Column("created_at", Utc, nullable=False, index=True),
    _model_name(),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("series_id", sa.String(256)),
    sa.Column("first_date", sa.Date),  # the first forecast day
    sa.Column("last_date", sa.Date),
    sa.Column("levels", sa.JSON, nullable=False),  # (quantiles,)
    sa.Column("quantiles", sa.JSON, nullable=False),  # (days, quantiles), raw units
    sa.Column("body", sa.LargeBinary),
    # The eleven features of the last known day, in the order of lib.features.FEATURES, null where
    # missing. SQL's NULL in rows older than this column.
    sa.Column("features", sa.JSON(none_as_null=True)),
    # Those covariates of the model that change from day to day, on the last known day, by name:
    # numbers, or the name of a category as it was sent; null where missing.
    sa.Column("covariates", sa.JSON(none_as_null=True)),
    # Those of the last days up to that one, as many as the horizon of the model, and factor and
    # event: name to cells, the oldest day first, null where missing. Without those never known.
    sa.Column("recent", sa.JSON(none_as_null=True)),
    sa.Index("predictions_days", "series_id", "first_date"),
    # Of the forecasts about a window of days all that is counted, without their rows.
    sa.Index("predictions_window", "model_name", "first_date", "series_id", "last_date"),
)
actuals = sa.Table(
    "actuals",
    metadata,
    # What it is the actual of, as one string: the trace, or the series and the day.
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("trace_id", sa.String(64), index=True),
    sa.Column("series_id", sa.String(256)),
    sa.Column("date", sa.Date),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("updated_at", Utc, nullable=False, index=True),
    sa.Column("corrections", sa.Integer, nullable=False, default=0),
    # "quarantined" (implausible, left out everywhere), "released" (a person found it right), or
    # NULL; with the reason of the doubt.
    sa.Column("quality", sa.String(12)),
    sa.Column("reason", sa.Text),
    sa.Index("actuals_days", "series_id", "date"),
    sa.Index("actuals_window", "date", "series_id", "quality"),
)
# The values of actuals before they were corrected.
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
    _model_name(),
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
    _model_name(),
    sa.Column("model_version", sa.Integer),
    sa.Column("status", sa.String(16), nullable=False),  # such as ok, alarm, unknown, failed
    sa.Column("result", sa.JSON, nullable=False),  # the numbers that made it
    sa.Index("checks_kind", "kind", "made_at"),
)
# What the last check of each model found, as the service shows it.
findings = sa.Table(
    "findings",
    metadata,
    sa.Column("model_name", sa.String(256), primary_key=True),
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("result", sa.JSON, nullable=False),
)
_OPEN = sa.text("ended_at IS NULL")
# One row an incident, from its beginning to its end.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    _model_name(),
    sa.Column("key", sa.String(200), nullable=False),  # what it is about
    sa.Column("severity", sa.String(16), nullable=False),  # info, warning, critical: now
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),  # as last found
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("last_seen", Utc, nullable=False),
    sa.Column("told_at", Utc),  # when a notice of it was last delivered
    sa.Column("ended_at", Utc, index=True),  # NULL while open
    sa.Column("deliveries", sa.JSON, nullable=False),  # by channel
    sa.Index("alerts_key", "key", "ended_at"),
    # Two checks at once may find the same: it is one incident.
    sa.Index(
        "alerts_open",
        "model_name",
        "key",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)
# Who took a lease last, and when: see lib.storage.leases, which holds them by other means.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("owner", sa.String(256)),  # name of the process
    sa.Column("taken_at", Utc, nullable=False),
    sa.Column("until", Utc, nullable=False),  # of earlier programs; now as taken_at
)
