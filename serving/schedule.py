"""When the monitoring runs: by `MONITOR_CRON`, in a process of its own, one at a time.

Several workers may share a database: whoever takes the lease of a minute runs it, the others see
that it was taken.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from huey import crontab

from lib import storage
from lib.settings import SettingsError
from lib.storage import Store, StoreError, held

COMMAND = (sys.executable, "-m", "lib.monitoring.job")
LEASE = "monitoring"
SECONDS = 60.0  # after which another host takes over from one that is not heard of
_LATE = 60  # minutes that are caught up with, where the worker was held up
_MINUTE = timedelta(minutes=1)
log = structlog.get_logger()


class Schedule:
    """Runs a command at the minutes of a cron line. `beat` is called every few seconds."""

    def __init__(self, cron: str, store: Store, command: Sequence[str] = COMMAND) -> None:
        """`cron` as in MONITOR_CRON, in UTC; "" is never. Raises SettingsError."""
        self.command = tuple(command)
        self._matches = _matcher(cron)
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = _minute(datetime.now(UTC))

    def beat(self, now: datetime | None = None) -> bool:
        """Start the command if a minute of the line has come. → whether it was started here.

        While it runs, or runs in another worker, nothing is started: those minutes are left out.
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
        """The last minute of the line since the last look, this one included."""
        if self._matches is None or now <= self._seen:
            return None
        first = max(self._seen + _MINUTE, now - _LATE * _MINUTE)
        self._seen, minute = now, now
        while minute >= first:
            if self._matches(minute):
                return minute
            minute -= _MINUTE
        return None

    def _run(self, due: datetime) -> None:
        try:
            with held(self._store, LEASE, seconds=SECONDS, unless_since=due) as lease:
                if lease is None:
                    return
                started = time.monotonic()
                log.info("monitoring started", due=due.isoformat())
                code = storage.run(self.command, stop=[self._stop, lease.lost])
            seconds = round(time.monotonic() - started, 1)
            say = log.warning if code else log.info
            say("monitoring finished", exit_code=code, seconds=seconds)
        except (StoreError, OSError) as error:
            log.warning("monitoring not run", error=str(error))


def _matcher(cron: str) -> Callable[[datetime], bool] | None:
    if not cron:
        return None
    try:
        minute, hour, day, month, weekday = cron.split()
        return crontab(minute, hour, day, month, weekday, strict=True)
    except ValueError as error:
        raise SettingsError(
            f"MONITOR_CRON: {cron!r}: {error}; expected such as 30 5 * * *"
        ) from error


def _minute(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(second=0, microsecond=0)
