"""The covariates of the last known day, beside the eleven features of a forecast."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0005"
down_revision = "0004"


def upgrade(op: Operations) -> None:
    """From 0004, whose programs may still be running."""
    op.add_column("predictions", sa.Column("covariates", sa.JSON(none_as_null=True)))
