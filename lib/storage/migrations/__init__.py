"""Brings a database of `lib.storage.database` to the tables of this program, step by step, by alembic.

The steps are files in `versions`: `upgrade(op)` of each takes the tables from one revision to the
next. They get alembic's operations as an argument and never import `alembic.op`, which is one per
process: MLflow may be migrating its own database in another thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from lib.storage.tables import VERSION_TABLE


def upgrade(connection: sa.Connection) -> None:
    """Make the tables, or change those of an earlier revision; all in the caller's transaction.

    Tables of before there were steps, which say version 1 of themselves, are taken over.
    Raises ValueError, naming the revision found, for a database that a later program made.
    """
    scripts = ScriptDirectory(str(Path(__file__).parent))

    def steps(found: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", found)

    options = {"version_table": VERSION_TABLE, "fn": steps}
    context = MigrationContext.configure(connection, opts=options)
    known = {script.revision for script in scripts.walk_revisions()}
    found = context.get_current_revision()
    if found is None and "schema_version" in sa.inspect(connection).get_table_names():
        said = connection.scalar(sa.text("SELECT version FROM schema_version"))
        if said not in (None, 1):
            raise ValueError(str(said))
        if said == 1:
            context.stamp(scripts, "0001")
    elif found is not None and found not in known:
        raise ValueError(found)
    context.run_migrations(op=Operations(context))
