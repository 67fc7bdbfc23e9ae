"""When the monitoring runs: by `MONITOR_CRON`, in a process of its own, one at a time.

Several workers may share a database: the one that takes the lease of a minute runs it, and the
others see that it was taken.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from cronsim import CronSim, CronSimError

from lib import storage
from lib.settings import SettingsError
from lib.storage import Store, StoreError, held, lease_of

COMMAND = (sys.executable, "-m", "lib.pipeline.check")
LEASE = "monitoring"
_LATEST = timedelta(minutes=60)  # that a run may start late, where the worker was held up
_MINUTE = timedelta(minutes=1)
log = structlog.get_logger()


class Schedule:
    """Runs a command at the minutes of a cron line. `beat` is called every few seconds."""

    def __init__(self, cron: str, store: Store, command: Sequence[str] = COMMAND) -> None:
        """Prepare a schedule.

        Args:
            cron: as in MONITOR_CRON, in UTC; "" is never.
            store: the database whose workers share the schedule.
            command: the program to run, and its arguments.

        Raises:
            SettingsError: `cron` is not a cron line.
        """
        self.command = tuple(command)
        self._cron = cron
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_look = _minute(datetime.now(UTC))
        if cron:
            try:
                CronSim(cron, self._last_look)
            except CronSimError as error:
                raise SettingsError(
                    f"MONITOR_CRON: {cron!r}: {error}; expected such as 30 5 * * *"
                ) from error

    def beat(self, now: datetime | None = None) -> bool:
        """Start the command if a minute of the line has come, and return whether it was started.

        While it runs, here or in another worker, nothing is started: those minutes are left out.
        """
        due = self._due(_minute(now or datetime.now(UTC)))
        if due is None:
            return False
        if self._thread is not None and self._thread.is_alive():
            log.warning("monitoring still runs; this time is left out", due=due.isoformat())
            return False
        self._thread = threading.Thread(
            target=self._run, args=(due,), name="monitoring", daemon=True
        )
        self._thread.start()
        return True

    def stop(self, timeout: float = 2 * storage.GRACE) -> None:
        """End the command, if it runs."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _due(self, now: datetime) -> datetime | None:
        """Return the last minute of the line since the last look, `now` included."""
        if now < self._last_look - _LATEST:  # the clock was set back: it is not waited for
            self._last_look = now
        if not self._cron or now <= self._last_look:
            return None
        since = max(self._last_look, now - _LATEST - _MINUTE)
        self._last_look, due = now, None
        for minute in CronSim(self._cron, since):  # begins after `since`
            if minute > now:
                break
            due = minute
        return due

    def _run(self, due: datetime) -> None:
        try:
            with held(self._store, lease_of(self._store, LEASE), unless_since=due) as lease:
                if lease is None:
                    return
                started = time.monotonic()
                log.info("monitoring started", due=due.isoformat())
                code = storage.run(self.command, stop=[self._stop, lease.lost])
            seconds = round(time.monotonic() - started, 1)
            report = log.warning if code else log.info
            report("monitoring finished", exit_code=code, seconds=seconds)
        except (StoreError, OSError) as error:
            log.warning("monitoring not run", error=str(error))


def _minute(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(second=0, microsecond=0)
