"""Delete old rows, whether or not a worker runs: once an hour, by one process of a database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from lib.settings import Settings
from lib.storage import StoreError, held, lease_of, purge, utcnow

if TYPE_CHECKING:
    from serving.explanations import Jobs

HOUR = 3600.0
LEASE = "retention"
log = structlog.get_logger()


def delete_old_rows(settings: Settings, jobs: Jobs, *, every: float = HOUR) -> dict[str, int]:
    """Delete rows beyond their retention, unless any process has done so lately.

    Args:
        settings: EXPLANATION_RETENTION_DAYS and RETENTION_DAYS.
        jobs: the explanations of the database.
        every: seconds within which one process does it.

    Returns:
        Rows deleted or emptied, by table; nothing where another process did it.

    Raises:
        StoreError: the database does not answer.
    """
    lately = utcnow() - timedelta(seconds=0.9 * every)
    with held(jobs.store, lease_of(jobs.store, LEASE), unless_since=lately) as lease:
        if lease is None:
            return {}
        deleted = {"explanations": jobs.delete_old(days=settings.explanation_retention_days)}
        deleted |= purge(jobs.store, settings.retention_days)
    if any(deleted.values()):
        log.info("old rows deleted", **deleted)
    return deleted


class Retention:
    """Deletes old rows in the background of a process."""

    def __init__(self, delete: Callable[[], object], *, every: float = HOUR) -> None:
        """Prepare a thread that calls `delete` now and then."""
        self._delete = delete
        self._every = every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; does nothing where it runs. Call it after forking."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after what it deletes now."""
        self._stop.set()

    def _run(self) -> None:
        # Not at once: a process that starts has better things to do.
        while not self._stop.wait(self._every):
            try:
                self._delete()
            except StoreError as error:
                log.warning("old rows not deleted", error=str(error))
