"""Notice what a database does not report: its file was deleted, or it has grown too large."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from lib.storage import Store

_SQLITE_BYTES = """
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""
_SERVER_BYTES = "SELECT pg_database_size(current_database())"


class DatabaseFile:
    """The file of a SQLite database. A connection goes on writing to one that was deleted."""

    def __init__(self, store: Store) -> None:
        """Take the store whose file it is; on another database nothing is ever lost here."""
        name = store.url.database if store.url.get_backend_name() == "sqlite" else None
        self._path = Path(name) if name and name != ":memory:" else None
        self._known: tuple[int, int] | None = None

    def remember(self) -> None:
        """Note the file that is open now."""
        self._known = self._identity()

    def forget(self) -> None:
        """Note that no file is open."""
        self._known = None

    def is_lost(self) -> bool:
        """Tell whether the file that was open is no longer the one of this name."""
        return self._known is not None and self._identity() != self._known

    def _identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)  # noqa: PTH116 - for each prediction, in half the time
        except OSError:
            return None
        return found.st_dev, found.st_ino


def measure_bytes(store: Store) -> int:
    """Return the bytes that a database holds, without those that deleted rows have left free.

    Raises:
        StoreError: the database does not answer.
    """
    text = _SQLITE_BYTES if store.url.get_backend_name() == "sqlite" else _SERVER_BYTES
    with store.reading() as connection:
        return int(connection.execute(sa.text(text)).scalar_one())
