"""Explanations to compute: a table of the database that is the queue as well.

Workers poll it. A job is claimed by the transaction that changes its status, so only one worker
gets it. A claim is a lease, which the worker renews; a worker that dies stops renewing, and
`Jobs.reclaim` gives the job to the next one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from lib.storage import (
    Store,
    exclusive_transaction,
    explanations,
    in_batches,
    is_present,
    lease_of,
    predictions,
    show_presence,
    utcnow,
)

MAX_ATTEMPTS = 10  # of a job whose worker dies each time: the job may be what kills it
SECONDS_EACH = 3  # that one explanation takes at most, on one core
RETRY_SECONDS = 3.0  # before a postponed job is tried again
_WORKER = "explanations"  # the lease that running workers renew
# Of results; it is part of the hash, so that a new format is computed anew. That of /predict bodies
# is as it was.
_FORMAT, _FORMAT_OF_HISTORIES = 1, 2
_ROWS = explanations.c
_VALID = ("queued", "running", "done")  # status of what need not be queued
_QUEUED = {"status": "queued", "worker": None, "started_at": None, "lease_until": None}
log = structlog.get_logger()


class NoWorkerError(RuntimeError):
    """No worker has shown itself lately: the job would wait for ever."""


class QueueFullError(RuntimeError):
    """The queue holds as many jobs as it may; one is likely to end within `retry_after` seconds."""

    def __init__(self, waiting: int) -> None:
        self.retry_after = SECONDS_EACH
        super().__init__(f"{waiting} explanations wait already")


@dataclass(frozen=True)
class Job:
    """A claimed explanation. `body` is a question of `/predict` or `/forecast`."""

    id: str
    body: dict[str, Any]
    model_version: int


class Jobs:
    """The explanations of one database, in any state from queued to done."""

    def __init__(
        self, store: Store, *, name: str = "", queue_max: int = 100, lease_seconds: float = 30
    ) -> None:
        """Use the table of a store.

        Args:
            store: the database; opened when first used.
            name: of the registered model whose versions are explained.
            queue_max: jobs that may wait.
            lease_seconds: after which a worker that does not renew its claim loses the job.
        """
        self.store = store
        self.name = name
        self.queue_max = queue_max
        self.lease = timedelta(seconds=lease_seconds)

    def submit(
        self,
        body: dict[str, Any],
        model_version: int,
        *,
        edition: str = "",
        needs_worker: bool = False,
    ) -> str:
        """Queue a question, unless it is queued, running or done already.

        The same question about the same version has the same id. One that failed is tried again.

        Args:
            body: the question as it is stored and computed.
            model_version: of the model that is explained.
            edition: of a model whose number stays where it changes, such as the pretrained network.
            needs_worker: refuse what no worker would compute.

        Returns:
            The id of the explanation.

        Raises:
            NoWorkerError: no worker runs, and the explanation is not there.
            QueueFullError: as many jobs wait as may.
            StoreError: the database does not answer.
        """
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        version = _FORMAT_OF_HISTORIES if "history" in body else _FORMAT
        hashed = json.dumps([version, self.name, model_version, text, *filter(None, [edition])])
        identity = hashlib.sha256(hashed.encode()).hexdigest()[:32]
        known = sa.select(_ROWS.status).where(_ROWS.id == identity)
        # What is there already waits for no writer.
        with self.store.reading() as connection:
            if connection.scalar(known) in _VALID:
                return identity
        with self.store.writing() as connection:
            exclusive_transaction(connection)  # or two requests could take the last slot
            status = connection.scalar(known)
            if status in _VALID:
                return identity
            if needs_worker and not self._has_worker(connection):
                raise NoWorkerError("no worker for explanations runs")
            queued = sa.select(sa.func.count()).where(self._named(), _ROWS.status == "queued")
            waiting = connection.execute(queued).scalar_one()
            if waiting >= self.queue_max:
                raise QueueFullError(waiting)
            fresh = _QUEUED | {"created_at": utcnow(), "attempts": 0, "error": None}
            if status == "failed":
                change = explanations.update().where(_ROWS.id == identity)
                connection.execute(change.values(**fresh, finished_at=None))
            else:
                row = fresh | {"id": identity, "model_version": model_version, "body": text}
                row["model_name"] = self.store.model_name
                connection.execute(explanations.insert().values(row))
        return identity

    def get(self, identity: str) -> sa.RowMapping | None:
        """Return the row of an explanation without body and plot, None for an unknown id."""
        columns = [c for c in _ROWS if c.name not in ("body", "plot")]
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(*columns).where(_ROWS.id == identity))
            return rows.mappings().one_or_none()

    def plot(self, identity: str) -> bytes | None:
        """Return the PNG of an explanation that is done."""
        with self.store.reading() as connection:
            return connection.scalar(sa.select(_ROWS.plot).where(_ROWS.id == identity))

    def count(self) -> dict[str, int]:
        """Count the explanations by status."""
        counts = (
            sa.select(_ROWS.status, sa.func.count()).where(self._named()).group_by(_ROWS.status)
        )
        with self.store.reading() as connection:
            by_status = {row[0]: row[1] for row in connection.execute(counts)}
        return {s: by_status.get(s, 0) for s in ("queued", "running", "done", "failed")}

    def claim(self, worker: str) -> Job | None:
        """Claim the job that has waited longest.

        Args:
            worker: name of the process that computes it.

        Returns:
            The job, now leased to the worker; None where none is due.

        Raises:
            StoreError: the database does not answer.
        """
        due = self._next_due()
        # An idle worker only reads: it must not make the writers of SQLite wait.
        with self.store.reading() as connection:
            if connection.scalar(due) is None:
                return None
        now = utcnow()
        lease = {"worker": worker, "started_at": now, "lease_until": now + self.lease}
        with self.store.writing() as connection:
            # PostgreSQL skips rows that another worker is about to claim; SQLite has one writer.
            identity = connection.scalar(due.with_for_update(skip_locked=True))
            if identity is None:
                return None
            row = explanations.update().where(_ROWS.id == identity)
            row = row.values(status="running", attempts=_ROWS.attempts + 1, **lease)
            columns = row.returning(_ROWS.body, _ROWS.model_version)
            body, version = connection.execute(columns).one()
        return Job(identity, json.loads(body), version)

    def announce(self, worker: str, *, leaves: bool = False) -> None:
        """Let the service know that a worker runs, or that it leaves."""
        seconds = 0.0 if leaves else self.lease.total_seconds()
        show_presence(self.store, self._worker_lease, worker, seconds=seconds)

    def has_worker(self) -> bool:
        """Tell whether a worker has shown itself within the time of a lease."""
        with self.store.reading() as connection:
            return self._has_worker(connection)

    def _has_worker(self, connection: sa.Connection) -> bool:
        return is_present(connection, self._worker_lease)

    @property
    def _worker_lease(self) -> str:
        return lease_of(self.store, _WORKER)

    def renew(self, identity: str, worker: str) -> None:
        """Extend the lease of the job that a worker computes.

        Other jobs leased to it are left alone: a result it could not store is computed by another.
        """
        with self.store.writing() as connection:
            change = _leased(worker, identity).values(lease_until=utcnow() + self.lease)
            connection.execute(change)

    def finish(self, identity: str, worker: str, result: dict[str, Any], plot: bytes) -> bool:
        """Store a result. Returns False, and changes nothing, where the lease was lost."""
        return self._end(identity, worker, "done", result=result, plot=plot, error=None)

    def fail(self, identity: str, worker: str, error: str) -> bool:
        """Store why there is no result. Returns False where the lease was lost."""
        return self._end(identity, worker, "failed", error=error)

    def postpone(self, identity: str, worker: str) -> None:
        """Queue a job again that cannot be computed now; it is not due for RETRY_SECONDS."""
        due = utcnow() + timedelta(seconds=RETRY_SECONDS)
        queued = _QUEUED | {"lease_until": due, "attempts": _ROWS.attempts - 1}
        with self.store.writing() as connection:
            connection.execute(_leased(worker, identity).values(queued))

    def release(self, worker: str) -> None:
        """Queue again what a worker will not finish; the attempt does not count."""
        with self.store.writing() as connection:
            queued = _QUEUED | {"attempts": _ROWS.attempts - 1}
            connection.execute(_leased(worker).values(queued))

    def reclaim(self, dead: Callable[[str], bool]) -> list[str]:
        """Queue the jobs of workers that are dead or let their lease run out.

        A job that was reclaimed MAX_ATTEMPTS times fails instead.

        Args:
            dead: tells whether a worker, by its name, is known to be gone.

        Returns:
            The ids of the jobs that are queued again.
        """
        now, reclaimed = utcnow(), []
        running = sa.select(_ROWS.id, _ROWS.worker, _ROWS.lease_until, _ROWS.attempts)
        with self.store.reading() as connection:
            rows = connection.execute(running.where(self._named(), _ROWS.status == "running")).all()
        for identity, worker, until, attempts in rows:
            # A lease beyond any that is given out: the clock was set back. It is not waited for.
            if now <= until <= now + 2 * self.lease and not dead(worker):
                continue
            if attempts >= MAX_ATTEMPTS:
                died = f"the worker died {attempts} times while computing this explanation"
                self.fail(identity, worker, died)
                continue
            # Another worker may have reclaimed it meanwhile, and a third may have claimed it.
            change = _leased(worker, identity).where(_ROWS.lease_until == until).values(**_QUEUED)
            with self.store.writing() as connection:
                if connection.execute(change).rowcount == 1:
                    reclaimed.append(identity)
                    log.warning("explanation reclaimed", explanation_id=identity, worker=worker)
        return reclaimed

    def delete_old(self, *, days: float) -> int:
        """Delete results, and the bodies of predictions, that are older. Returns rows changed."""
        old, kept = utcnow() - timedelta(days=days), predictions.c
        outdated = sa.and_(
            kept.model_name == self.store.model_name,
            kept.created_at < old,
            kept.body.is_not(None),
        )
        finished = sa.and_(self._named(), _ROWS.finished_at < old)
        return in_batches(self.store, explanations.delete(), _ROWS.id, finished) + in_batches(
            self.store, predictions.update().values(body=None), kept.id, outdated
        )

    def _named(self) -> sa.ColumnElement[bool]:
        """Select the explanations of this registered name: a worker leaves others' to theirs."""
        return _ROWS.model_name == self.store.model_name

    def _next_due(self) -> sa.Select[Any]:
        """Select the id of the oldest queued job whose pause, if it was postponed, is over."""
        now, longest = utcnow(), timedelta(seconds=2 * RETRY_SECONDS)
        due = sa.or_(
            _ROWS.lease_until.is_(None),
            _ROWS.lease_until <= now,
            _ROWS.lease_until > now + longest,  # the clock was set back
        )
        waiting = sa.select(_ROWS.id).where(self._named(), _ROWS.status == "queued", due)
        return waiting.order_by(_ROWS.created_at, _ROWS.id).limit(1)

    def _end(self, identity: str, worker: str, status: str, **values: Any) -> bool:
        values |= {"status": status, "finished_at": utcnow(), "lease_until": None, "worker": None}
        with self.store.writing() as connection:
            change = _leased(worker, identity).values(**values)
            return connection.execute(change).rowcount == 1


def _leased(worker: str, identity: str | None = None) -> sa.Update:
    """Update the running job of a worker, or all of them."""
    change = explanations.update().where(_ROWS.status == "running", _ROWS.worker == worker)
    return change if identity is None else change.where(_ROWS.id == identity)
