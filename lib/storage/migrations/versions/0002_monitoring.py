"""What monitoring needs: features of forecasts, checks, alerts, leases, corrected actuals."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"
_TIME = sa.DateTime(timezone=True)


def upgrade(op: Operations) -> None:
    """From 0001. Nothing a program of 0001 uses is changed, so that it may still be running."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("predictions", sa.Column("features", sa.JSON))
    op.create_index("ix_actuals_updated_at", "actuals", ["updated_at"])
    op.create_table(
        "corrections",
        sa.Column("id", number, primary_key=True),
        sa.Column("key", sa.String(300), nullable=False, index=True),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("replaced_at", _TIME, nullable=False, index=True),
    )
    op.create_table(
        "checks",
        sa.Column("id", number, primary_key=True),
        sa.Column("made_at", _TIME, nullable=False, index=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("model_version", sa.Integer),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
    )
    op.create_index("checks_kind", "checks", ["kind", "made_at"])
    op.create_table(
        "alerts",
        sa.Column("id", number, primary_key=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("last_seen", _TIME, nullable=False),
        sa.Column("told_at", _TIME),
        sa.Column("ended_at", _TIME, index=True),
        sa.Column("deliveries", sa.JSON, nullable=False),
    )
    op.create_index("alerts_key", "alerts", ["key", "ended_at"])
    still = sa.text("ended_at IS NULL")
    op.create_index(
        "alerts_open", "alerts", ["key"], unique=True, sqlite_where=still, postgresql_where=still
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(256)),
        sa.Column("taken_at", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
    )
    # The revision is in alembic's table from here on.
    op.drop_table("schema_version")
