"""The covariates of the last days before a forecast, for retraining."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0006"
down_revision = "0005"


def upgrade(op: Operations) -> None:
    """From 0005, whose programs may still be running."""
    op.add_column("predictions", sa.Column("recent", sa.JSON(none_as_null=True)))
