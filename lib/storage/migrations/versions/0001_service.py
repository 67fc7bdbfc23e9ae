"""Predictions, actuals and explanations: the tables of before there were steps."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None
_TIME = sa.DateTime(timezone=True)


def upgrade(op: Operations) -> None:
    """From nothing."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, nullable=False))
    op.create_table(
        "predictions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("trace_id", sa.String(64), nullable=False, index=True),
        sa.Column("created_at", _TIME, nullable=False, index=True),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("series_id", sa.String(256)),
        sa.Column("first_date", sa.Date),
        sa.Column("last_date", sa.Date),
        sa.Column("levels", sa.JSON, nullable=False),
        sa.Column("quantiles", sa.JSON, nullable=False),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("predictions_days", "predictions", ["series_id", "first_date"])
    op.create_table(
        "actuals",
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("trace_id", sa.String(64), index=True),
        sa.Column("series_id", sa.String(256)),
        sa.Column("date", sa.Date),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("corrections", sa.Integer, nullable=False),
    )
    op.create_index("actuals_days", "actuals", ["series_id", "date"])
    op.create_table(
        "explanations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("status", sa.String(8), nullable=False, index=True),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(256)),
        sa.Column("lease_until", _TIME),
        sa.Column("result", sa.JSON),
        sa.Column("plot", sa.LargeBinary),
        sa.Column("error", sa.Text),
    )
