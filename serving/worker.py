"""The process that computes explanations and runs the monitoring: `python -m serving.worker`.

It polls the database, computes one job at a time in one thread, and has a low priority, so that
forecasts, which people wait for, go first. It may be killed at any moment, and several may run, on
any number of hosts.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from lib.log import configure_logging, list_frames, summarize_error
from lib.settings import Settings, SettingsError, get_settings
from lib.storage import Store, StoreError, is_dead, process_name
from serving.explanations import Explainer, Job, Jobs, TryLaterError
from serving.records import DatabaseFile, delete_old_rows
from serving.schedule import COMMAND, Schedule

NICE = 10
_PAUSES = (0.05, 0.4)  # seconds between two looks at an empty queue, at first and at most
_AWAY = 2.0  # seconds before the next look at a database that failed
_BEAT = 3.0  # seconds between two looks at leases, dead workers and the schedule
_PURGE = 3600.0  # seconds between two deletions of old rows
_GRACE = 10.0  # seconds for the current job when the worker stops
# (a question, a model version) to (result for JSON, PNG)
Compute = Callable[[dict[str, Any], int], tuple[dict[str, Any], bytes]]
log = structlog.get_logger()


class Worker:
    """Computes queued explanations until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        compute: Compute | None = None,
        *,
        lease_seconds: float = 30,
        parent: int = 0,
        monitor: Sequence[str] = COMMAND,
    ) -> None:
        """Prepare a worker; `run` starts it.

        Args:
            settings: of this installation.
            compute: what makes an explanation of a question; SHAP by default.
            lease_seconds: after which a worker that does not renew its lease loses its job.
            parent: process without which the worker stops, however that ended; 0 for none.
            monitor: the command that MONITOR_CRON runs.
        """
        self.parent = parent
        self.name = process_name()
        self.settings = settings
        self.store = Store.of(settings, busy_seconds=30)
        self.jobs = Jobs(self.store, lease_seconds=lease_seconds)
        self._file = DatabaseFile(self.store)
        self._schedule = Schedule(settings.monitor_cron, self.store, monitor)
        self._compute = compute or Explainer(settings)
        self._stopping = threading.Event()
        # Of all that signals a thread, only this may be used in a signal handler.
        self._stop_requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._current: str | None = None
        self._announce_every = lease_seconds / 3
        self._announced_at = float("-inf")

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; the current job then has ten seconds to end.

        Raises:
            StoreError: the database cannot be opened.
        """
        with self.store.reading():
            log.info("worker started", worker=self.name)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop_requests.put(None))
        # Before the first job: what dead workers left is older.
        self.reclaim()
        self._announce()
        threads = [
            threading.Thread(target=self._poll, name="explanations", daemon=True),
            threading.Thread(target=self._keep, name="keeper", daemon=True),
        ]
        for thread in threads:
            thread.start()
        self._stop_requests.get()
        self._stopping.set()
        for thread in threads:
            thread.join(_GRACE)
        self._schedule.stop()
        self._try(lambda: self.jobs.release(self.name))
        self._try(lambda: self.jobs.announce(self.name, leaves=True))
        log.info("worker stopped", worker=self.name)

    def work(self) -> bool:
        """Compute the next job. Returns False where none is due, or the database failed."""
        try:
            job = self.jobs.claim(self.name)
            if job is None:
                return False
            self._current = job.id
            self._explain(job)
        except StoreError as error:
            # The row stays as it is: it is queued, or its lease ends.
            log.warning("store failed", explanation_id=self._current, error=str(error))
            self._stopping.wait(_AWAY)
            return False
        finally:
            self._current = None
        return True

    def renew(self) -> None:
        """Extend the lease of the current job, if there is one."""
        identity = self._current
        if identity is not None:
            self._try(lambda: self.jobs.renew(identity, self.name))

    def reclaim(self) -> None:
        """Queue again what dead workers had claimed."""
        self._try(lambda: self.jobs.reclaim(is_dead))

    def _announce(self) -> None:
        """Let the service know that explanations are computed, now and then."""
        if time.monotonic() - self._announced_at >= self._announce_every:
            self._announced_at = time.monotonic()
            self._try(lambda: self.jobs.announce(self.name))

    def _explain(self, job: Job) -> None:
        try:
            result, plot = self._compute(job.body, job.model_version)
        except TryLaterError as error:
            log.warning(
                "explanation postponed", explanation_id=job.id, error=summarize_error(error)
            )
            self.jobs.postpone(job.id, self.name)
        except Exception as error:  # noqa: BLE001 - no job may end the worker
            log.error(
                "explanation failed",
                explanation_id=job.id,
                error=summarize_error(error),
                where=list_frames(error),
            )
            self.jobs.fail(job.id, self.name, summarize_error(error))
        else:
            stored = self.jobs.finish(job.id, self.name, result, plot)
            log.info("explanation done", explanation_id=job.id, stored=stored)

    def _poll(self) -> None:
        """Compute job after job; look less often while there is none."""
        pause = _PAUSES[0]
        try:
            if isinstance(self._compute, Explainer):
                self._compute.prepare()
            while not self._stopping.is_set():
                if self.work():
                    pause = _PAUSES[0]
                    continue
                self._stopping.wait(pause)
                pause = min(2 * pause, _PAUSES[1])
        finally:
            self._stop_requests.put(None)  # a worker that cannot work had better be restarted

    def _keep(self) -> None:
        """Renew leases, reclaim jobs, run the schedule and delete old rows, beside `_poll`."""
        since_purge = _PURGE
        while not self._stopping.wait(_BEAT):
            if self.parent and os.getppid() != self.parent:
                log.warning("worker stops: its server is gone", server=self.parent)
                self._stop_requests.put(None)
                return
            self._reopen_if_lost()
            self._announce()
            self.renew()
            self.reclaim()
            self._schedule.beat()
            since_purge += _BEAT
            if since_purge >= _PURGE:
                since_purge = 0.0
                self._try(lambda: delete_old_rows(self.settings, self.jobs))

    def _reopen_if_lost(self) -> None:
        """Open the database anew where its file was deleted: jobs wait in the new one."""
        if self._file.is_lost():
            log.error("database file was deleted or replaced; it is opened anew")
            self.store.close()
        self._file.remember()

    def _try(self, action: Callable[[], object]) -> None:
        # The database may be away for a while; the next beat tries again.
        try:
            action()
        except Exception as error:  # noqa: BLE001 - or leases would no longer be renewed
            log.warning("worker cannot maintain its queue", error=summarize_error(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker. Returns 0 once it is stopped, 1 for unusable settings or database."""
    parser = argparse.ArgumentParser(prog="python -m serving.worker", description=__doc__)
    parser.add_argument("--parent", type=int, default=0, help="stop when this process is gone")
    parent = parser.parse_args(arguments).parent
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # numpy reads it when it is imported, which the package has done by now: begin again.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "serving.worker", f"--parent={parent}"])
    os.environ["MPLBACKEND"] = "agg"  # no display, and figures are drawn beside the main thread
    os.nice(NICE)
    # MLflow tries for minutes otherwise; other jobs need no registry.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        if settings.queue_url:
            log.warning("QUEUE_URL is ignored: jobs wait in DATABASE_URL; unset it")
        Worker(settings, parent=parent).run()
    except (SettingsError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
