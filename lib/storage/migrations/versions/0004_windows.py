"""Indexes by which a check of some days reads nothing else, however much is stored."""

from alembic.operations import Operations

revision = "0004"
down_revision = "0003"


def upgrade(op: Operations) -> None:
    """From 0003, whose programs may still be running."""
    op.create_index(
        "predictions_window", "predictions", ["model_name", "first_date", "series_id", "last_date"]
    )
    op.create_index("actuals_window", "actuals", ["date", "series_id", "quality"])
