"""Explanations to be computed: the table that says what is to do, and the queue that wakes workers.

The table is the truth. A message of the queue only says "look at this row": lost, it is sent again
by `Queue.fill`; doubled or late, it finds nothing to do, because a row is claimed by one UPDATE
that demands `status = 'queued'`. A claim is a lease, which its worker prolongs; a worker that dies
stops doing so, and `Jobs.take_back` gives the row to the next.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
import structlog
from huey import Huey, RedisHuey, SqliteHuey
from huey.api import TaskWrapper
from huey.exceptions import ConfigurationError
from huey.registry import Message
from huey.serializer import Serializer

from lib.settings import SettingsError
from lib.storage import (
    Store,
    exclusive_transaction,
    explanations,
    in_batches,
    predictions,
    utcnow,
)

MAX_ATTEMPTS = 10  # of a job whose worker dies each time: it may be what kills it
SECONDS_EACH = 3  # what one explanation takes at most, on one core
_FORMAT = 1  # of results: part of what is hashed, so that a new form is computed anew
_ROWS = explanations.c
log = structlog.get_logger()


class QueueFullError(RuntimeError):
    """As many explanations wait as may; `retry_after` seconds are likely to free a place."""

    def __init__(self, waiting: int) -> None:
        self.retry_after = SECONDS_EACH
        super().__init__(f"{waiting} explanations wait already")


@dataclass(frozen=True)
class Job:
    """A claimed explanation."""

    id: str
    body: dict[str, Any]  # of /predict
    model_version: int


class Jobs:
    """The table of explanations."""

    def __init__(
        self, store: Store, *, name: str = "", queue_max: int = 100, lease_seconds: float = 30
    ) -> None:
        """`name` is that of the registered model whose versions are explained."""
        self.store = store
        self.name = name
        self.queue_max = queue_max
        self.lease = timedelta(seconds=lease_seconds)

    def submit(self, body: dict[str, Any], model_version: int) -> tuple[str, bool]:
        """Ask for an explanation of a /predict body. → its id, and whether it is newly queued.

        The same question to the same model has the same id, and one that failed is tried again.
        Raises QueueFullError and StoreError.
        """
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        asked = json.dumps([_FORMAT, self.name, model_version, text])
        identity = hashlib.sha256(asked.encode()).hexdigest()[:32]
        with self.store.writing() as connection:
            exclusive_transaction(connection)  # or two could take the last place
            status = connection.scalar(sa.select(_ROWS.status).where(_ROWS.id == identity))
            if status in ("queued", "running", "done"):
                return identity, False
            queued = sa.select(sa.func.count()).where(_ROWS.status == "queued")
            waiting = connection.execute(queued).scalar_one()
            if waiting >= self.queue_max:
                raise QueueFullError(waiting)
            fresh = {"status": "queued", "created_at": utcnow(), "attempts": 0, "error": None}
            if status == "failed":
                change = explanations.update().where(_ROWS.id == identity)
                connection.execute(change.values(**fresh, finished_at=None))
            else:
                row = fresh | {"id": identity, "model_version": model_version, "body": text}
                connection.execute(explanations.insert().values(row))
        return identity, True

    def get(self, identity: str) -> sa.RowMapping | None:
        """The row of an explanation, without its body and plot, None where there is none."""
        columns = [c for c in _ROWS if c.name not in ("body", "plot")]
        with self.store.reading() as connection:
            found = connection.execute(sa.select(*columns).where(_ROWS.id == identity))
            return found.mappings().one_or_none()

    def plot(self, identity: str) -> bytes | None:
        """The PNG of an explanation that is done."""
        with self.store.reading() as connection:
            return connection.scalar(sa.select(_ROWS.plot).where(_ROWS.id == identity))

    def depth(self) -> dict[str, int]:
        """How many explanations there are of each status."""
        counts = sa.select(_ROWS.status, sa.func.count()).group_by(_ROWS.status)
        with self.store.reading() as connection:
            found = {row[0]: row[1] for row in connection.execute(counts)}
        return {s: found.get(s, 0) for s in ("queued", "running", "done", "failed")}

    def waiting(self) -> list[str]:
        """Ids of the queued explanations, oldest first."""
        queued = sa.select(_ROWS.id).where(_ROWS.status == "queued")
        with self.store.reading() as connection:
            return list(connection.scalars(queued.order_by(_ROWS.created_at, _ROWS.id)))

    def claim(self, identity: str, worker: str) -> Job | None:
        """Take a queued explanation; None where another has it or nobody needs it."""
        now = utcnow()
        take = explanations.update().where(_ROWS.id == identity, _ROWS.status == "queued")
        take = take.values(
            status="running",
            worker=worker,
            started_at=now,
            lease_until=now + self.lease,
            attempts=_ROWS.attempts + 1,
        )
        asked = sa.select(_ROWS.body, _ROWS.model_version).where(_ROWS.id == identity)
        with self.store.writing() as connection:
            if connection.execute(take).rowcount != 1:
                return None
            body, version = connection.execute(asked).one()
        return Job(identity, json.loads(body), version)

    def renew(self, identity: str, worker: str) -> None:
        """Prolong the lease of what a worker has in hand.

        Not of all that is running in its name: what it could not store is for another to do.
        """
        whose = [_ROWS.id == identity, _ROWS.status == "running", _ROWS.worker == worker]
        mine = explanations.update().where(*whose)
        with self.store.writing() as connection:
            connection.execute(mine.values(lease_until=utcnow() + self.lease))

    def finish(self, identity: str, worker: str, result: dict[str, Any], plot: bytes) -> bool:
        """Keep a result. → whether it was still this worker's to give."""
        return self._end(identity, worker, "done", result=result, plot=plot, error=None)

    def fail(self, identity: str, worker: str, error: str) -> bool:
        """Say why there will be no result. → whether it was still this worker's to say."""
        return self._end(identity, worker, "failed", error=error)

    def put_back(self, worker: str) -> None:
        """What a worker has and won't finish waits again, and counts as not tried."""
        mine = explanations.update().where(_ROWS.status == "running", _ROWS.worker == worker)
        with self.store.writing() as connection:
            connection.execute(mine.values(**_QUEUED, attempts=_ROWS.attempts - 1))

    def take_back(self, dead: Callable[[str], bool]) -> list[str]:
        """Queue what is running with workers that are dead, or that let their lease run out.

        A lease longer than any that is given means that the clock was set back meanwhile, and is
        not waited for. → the ids taken back. One taken back too often fails instead.
        """
        now, taken = utcnow(), []
        running = sa.select(_ROWS.id, _ROWS.worker, _ROWS.lease_until, _ROWS.attempts)
        with self.store.reading() as connection:
            rows = connection.execute(running.where(_ROWS.status == "running")).all()
        for identity, worker, until, attempts in rows:
            if now <= until <= now + 2 * self.lease and not dead(worker):
                continue
            if attempts >= MAX_ATTEMPTS:
                died = f"the worker died {attempts} times while computing this explanation"
                self.fail(identity, worker, died)
                continue
            # Only from whom it was seen with: another may have been faster and given it on.
            whose = [_ROWS.id == identity, _ROWS.status == "running", _ROWS.worker == worker]
            with self.store.writing() as connection:
                change = explanations.update().where(*whose, _ROWS.lease_until == until)
                if connection.execute(change.values(**_QUEUED)).rowcount == 1:
                    taken.append(identity)
                    log.warning("explanation taken back", explanation_id=identity, worker=worker)
        return taken

    def forget(self, *, days: float) -> int:
        """Delete results, and the bodies of predictions, that are older. → rows changed."""
        old, kept = utcnow() - timedelta(days=days), predictions.c
        outdated = sa.and_(kept.created_at < old, kept.body.is_not(None))
        return in_batches(
            self.store, explanations.delete(), _ROWS.id, _ROWS.finished_at < old
        ) + in_batches(self.store, predictions.update().values(body=None), kept.id, outdated)

    def _end(self, identity: str, worker: str, status: str, **values: Any) -> bool:
        whose = [_ROWS.id == identity, _ROWS.status == "running", _ROWS.worker == worker]
        change = explanations.update().where(*whose)
        values |= {"status": status, "finished_at": utcnow(), "lease_until": None, "worker": None}
        with self.store.writing() as connection:
            return connection.execute(change.values(**values)).rowcount == 1


class JsonSerializer(Serializer):
    """Messages as JSON.

    What huey does by default runs code that a message brings along: whoever may write to the
    queue would own the worker.
    """

    def _serialize(self, data: Message) -> bytes:
        return json.dumps(data).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(data))


class Queue:
    """The queue of ids that a worker looks at next. Without a handler it is only written to.

    Opened at first use, so that it may be made before a fork.
    """

    def __init__(self, url: str, handler: Callable[[str], None] | None = None) -> None:
        self.url = url
        self._handler = handler

    @property
    def huey(self) -> Huey:
        """The queue itself."""
        return self._task.huey

    @cached_property
    def _task(self) -> TaskWrapper:
        # No result is kept in the queue: the table has it.
        options: dict[str, Any] = {"serializer": JsonSerializer(), "results": False}
        try:
            if self.url.startswith("sqlite:///"):
                file = self.url.removeprefix("sqlite:///")
                huey: Huey = SqliteHuey("explanations", filename=file, strict_fifo=True, **options)
            else:
                huey = RedisHuey("explanations", url=self.url, **options)
        except (ConfigurationError, sqlite3.OperationalError) as error:
            raise SettingsError(
                f"QUEUE_URL: the queue cannot be opened ({error}); expected a file in a folder "
                "this user may write to, or redis://HOST:PORT after pip install redis"
            ) from error
        handler = self._handler

        def explain(identity: str) -> None:
            if handler is not None:
                handler(identity)

        return huey.task()(explain)

    def put(self, identity: str) -> None:
        """Wake a worker for a queued explanation.

        Raises SettingsError where there can be no queue, or what its backend raises.
        """
        self._task(identity)

    def fill(self, identities: list[str]) -> list[str]:
        """Put those that are not in the queue. → them."""
        if not identities:
            return []
        there = {task.args[0] for task in self.huey.pending()}
        missing = [identity for identity in identities if identity not in there]
        for identity in missing:
            self.put(identity)
        return missing


_QUEUED = {"status": "queued", "worker": None, "started_at": None, "lease_until": None}
