"""Migrations that bring a database of `lib.storage.database` to the tables of this program.

Each file in `versions` takes the tables from one revision to the next, by its `upgrade(op)`. It
gets alembic's operations as an argument and never imports `alembic.op`, which is one per process:
MLflow may be migrating its own database in another thread.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from lib.storage.tables import VERSION_TABLE


def upgrade(connection: sa.Connection, model_name: str) -> None:
    """Make the tables, or migrate those of an earlier revision, in the caller's transaction.

    Args:
        connection: to the database, in a transaction.
        model_name: registered name that rows of before there were names get.

    Raises:
        ValueError: a later program made the database; the message is its revision.
    """
    scripts = ScriptDirectory(str(Path(__file__).parent))
    options = {"version_table": VERSION_TABLE, "model_name": model_name}
    context = MigrationContext.configure(connection, opts=options)
    current = _current_revision(connection, context)
    if current is not None and current not in {s.revision for s in scripts.walk_revisions()}:
        raise ValueError(current)
    operations = Operations(context)
    pending = list(scripts.iterate_revisions("head", current or "base"))
    for script in reversed(pending):  # alembic lists the newest first
        script.module.upgrade(operations)
        context.stamp(scripts, script.revision)


def _current_revision(connection: sa.Connection, context: MigrationContext) -> str | None:
    """Return the revision of the tables, None where there are none.

    A database of before there were migrations has a table `schema_version` with the number 1: it
    is at revision 0001. Any other number is returned as it is.
    """
    revision = context.get_current_revision()
    if revision is not None or "schema_version" not in sa.inspect(connection).get_table_names():
        return revision
    version = connection.scalar(sa.text("SELECT version FROM schema_version"))
    if version is None:
        return None
    return "0001" if version == 1 else str(version)
