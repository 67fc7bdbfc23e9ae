"""The process that computes explanations, and runs the monitoring: `python -m serving.worker`.

It has one thread and a low priority, so that forecasts, which people wait for, go first. It may be
killed at any moment, and there may be several.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from lib.log import configure_logging
from lib.settings import Settings, SettingsError, get_settings
from lib.storage import Store, StoreError, is_dead, process_name, purge
from serving.explanations.explainer import Explainer, TryLaterError
from serving.explanations.jobs import Job, Jobs, Queue
from serving.http.errors import brief, frames
from serving.schedule import COMMAND, Schedule

NICE = 10
_BEAT = 3.0  # seconds between looking after leases and lost messages
_FORGET = 3600.0  # seconds between deletions
# (a /predict body, a model version) → result for JSON, PNG
Compute = Callable[[dict[str, Any], int], tuple[dict[str, Any], bytes]]
log = structlog.get_logger()


class Worker:
    """Takes jobs from the queue until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        compute: Compute | None = None,
        *,
        lease_seconds: float = 30,
        parent: int = 0,
        monitor: Sequence[str] = COMMAND,
    ) -> None:
        """Open the queue.

        Args:
            lease_seconds: a worker that is not heard of for so long has lost its job.
            parent: process without which it stops, however that ended; 0 for none.
            monitor: the command that MONITOR_CRON runs.
        """
        self.parent = parent
        self.name = process_name()
        self.settings = settings
        self.store = Store(settings.database_url, busy_seconds=30)
        self.jobs = Jobs(self.store, lease_seconds=lease_seconds)
        self.queue = Queue(settings.queue_url, self.handle)
        self._schedule = Schedule(settings.monitor_cron, self.store, monitor)
        self._compute = compute or Explainer(settings)
        self._stop = threading.Event()
        self._in_hand: str | None = None

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, which let the job in hand be finished for ten seconds."""
        consumer = self.queue.huey.create_consumer(
            workers=1,
            periodic=False,
            max_delay=0.5,
            graceful_signal="TERM",
            shutdown_timeout=10,
        )
        log.info("worker started", worker=self.name)
        # Before the first job: what a dead worker left goes to the queue first.
        self.look_after()
        if isinstance(self._compute, Explainer):
            self._compute.prepare()
        keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        keeper.start()
        try:
            consumer.run()
        finally:
            self._stop.set()
            keeper.join(5)
            self._schedule.stop()
            self._guarded(lambda: self.jobs.put_back(self.name))
            log.info("worker stopped", worker=self.name)

    def handle(self, identity: str) -> None:
        """Compute one explanation, if it is still wanted; whatever happens, the worker goes on."""
        try:
            job = self.jobs.claim(identity, self.name)
            if job is not None:
                self._in_hand = job.id
                self._do(job)
        except StoreError as error:
            # The row stays as it is: it is queued, or its lease ends.
            log.warning("store failed", explanation_id=identity, error=str(error))
        finally:
            self._in_hand = None

    def renew(self) -> None:
        """Prolong the lease of the job in hand, if there is one."""
        identity = self._in_hand
        if identity is not None:
            self._guarded(lambda: self.jobs.renew(identity, self.name))

    def look_after(self) -> None:
        """Take back what dead workers had, and send again what the queue has lost."""

        def work() -> None:
            self.jobs.take_back(is_dead)
            self.queue.fill(self.jobs.waiting())

        self._guarded(work)

    def _do(self, job: Job) -> None:
        try:
            result, plot = self._compute(job.body, job.model_version)
        except TryLaterError as error:
            log.warning("explanation waits", explanation_id=job.id, error=brief(error))
            # `look_after` sends it again: that is the pause.
            self.jobs.put_back(self.name)
        except Exception as error:  # noqa: BLE001 - no job may end the worker
            log.error(
                "explanation failed",
                explanation_id=job.id,
                error=brief(error),
                where=frames(error),
            )
            self.jobs.fail(job.id, self.name, brief(error))
        else:
            kept = self.jobs.finish(job.id, self.name, result, plot)
            log.info("explanation done", explanation_id=job.id, kept=kept)

    def _keep(self) -> None:
        """Beside the thread that computes: prolong leases, look after others, delete the old."""
        since_deletion = _FORGET
        while not self._stop.wait(_BEAT):
            if self.parent and os.getppid() != self.parent:
                log.warning("the server that started this worker is gone")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self.renew()
            self.look_after()
            self._schedule.beat()
            since_deletion += _BEAT
            if since_deletion >= _FORGET:
                since_deletion = 0.0
                self._guarded(self._forget)

    def _forget(self) -> None:
        emptied = self.jobs.forget(days=self.settings.explanation_retention_days)
        purged = purge(self.store, self.settings.retention_days)
        if emptied or any(purged.values()):
            log.info("old rows deleted", explanations=emptied, **purged)

    def _guarded(self, work: Callable[[], object]) -> None:
        # Queue and database may be away for a while; the next beat tries again.
        try:
            work()
        except Exception as error:  # noqa: BLE001 - backends of the queue raise what they like
            log.warning("worker cannot look after its jobs", error=brief(error))


class _AsJson(logging.Handler):
    """Huey's own messages in the form of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        more = {"error": brief(error), "where": frames(error)} if error else {}
        log.log(record.levelno, record.getMessage(), **more)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker. → exit code: 0 stopped, 1 settings or database cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m serving.worker", description=__doc__)
    parser.add_argument("--parent", type=int, default=0, help="process to stop with")
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
        configure_logging(settings.log_level)
        logging.getLogger("huey").addHandler(_AsJson(logging.WARNING))
        Worker(settings, parent=parent).run()
    except (SettingsError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
