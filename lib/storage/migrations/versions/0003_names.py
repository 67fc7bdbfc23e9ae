"""What several models in one database need: the registered name in rows, the last findings.

Actuals get what was doubted about them.
"""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"
_NAMED = ("predictions", "explanations", "checks", "alerts")


def upgrade(op: Operations) -> None:
    """From 0002. Old rows, and those of a program of 0002 that still runs, get the name in use.

    A column with a constant default is added in a moment, however many rows there are.
    """
    name = op.get_context().opts["model_name"]
    for table in _NAMED:
        column = sa.Column("model_name", sa.String(256), nullable=False, server_default=name)
        op.add_column(table, column)
    op.drop_index("alerts_open", "alerts")
    still = sa.text("ended_at IS NULL")
    op.create_index(
        "alerts_open",
        "alerts",
        ["model_name", "key"],
        unique=True,
        sqlite_where=still,
        postgresql_where=still,
    )
    op.add_column("actuals", sa.Column("quality", sa.String(12)))
    op.add_column("actuals", sa.Column("reason", sa.Text))
    op.create_table(
        "findings",
        sa.Column("model_name", sa.String(256), primary_key=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
    )
