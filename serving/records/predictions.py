"""Store predictions in the background.

An answer never waits for the database: a record goes into a bounded queue, and one thread writes
batches of them. A record that finds the queue full or the database failing is dropped and counted.
"""

from __future__ import annotations

import atexit
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog

from lib.settings import Settings
from lib.storage import Store, predictions, utcnow

if TYPE_CHECKING:
    import numpy as np


RECORDS = 5_000  # that may wait to be written
BYTES = 64_000_000  # that they may hold together
BATCH = 500  # records a transaction
_GATHER = 0.05  # seconds to wait for others after the first of a batch
_QUIET = 60.0  # seconds between two log lines about dropped records
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One forecast of one series.

    Attributes:
        trace_id: of the request.
        model_version: that answered.
        levels: of the quantiles, rising.
        quantiles: (days, quantiles) in raw units, nested lists or an array.
        body: of `/predict`, as it was sent.
        series_id: of `/forecast`.
        first_date: the first forecast day of `/forecast`.
        features: (11,) of the last known day, NaN where missing.
        created_at: now.
    """

    trace_id: str
    model_version: int
    levels: Sequence[float]
    quantiles: Any
    body: bytes | None = None
    series_id: str | None = None
    first_date: date | None = None
    features: np.ndarray | None = None
    created_at: datetime = field(default_factory=utcnow)

    def size(self) -> int:
        """Estimate the bytes it holds."""
        return 500 + len(self.body or b"") + 32 * len(self.quantiles) * len(self.levels)

    def row(self) -> dict[str, Any]:
        """Return its row of the table of predictions."""
        quantiles = self.quantiles
        if hasattr(quantiles, "tolist"):
            quantiles = quantiles.tolist()
        first = self.first_date
        return {
            "trace_id": self.trace_id,
            "created_at": self.created_at,
            "model_version": self.model_version,
            "series_id": self.series_id,
            "first_date": first,
            "last_date": first and first + timedelta(days=len(quantiles) - 1),
            "levels": list(self.levels),
            "quantiles": quantiles,
            "body": self.body,
            "features": None if self.features is None else _null_where_missing(self.features),
        }


def _null_where_missing(features: np.ndarray) -> list[float | None]:
    # NaN is no JSON, and PostgreSQL refuses it.
    return [x if math.isfinite(x) else None for x in features.tolist()]


class Recorder:
    """Stores predictions in the background. Its thread starts with the first of them.

    Attributes:
        store: the database.
        stored: records written since the start of this process.
        dropped: records not written, by reason: "full" or "failed".
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_dropped: Callable[[str, int], None] | None = None,
        records: int = RECORDS,
    ) -> None:
        """Prepare a recorder; it may be made before a fork.

        Args:
            settings: of this installation.
            on_dropped: called with reason and number of dropped records.
            records: that may wait to be written.
        """
        self.store = Store.of(settings)
        self.stored = 0
        self.dropped = {"full": 0, "failed": 0}
        self._on_dropped = on_dropped
        self._waiting: queue.Queue[Prediction | None] = queue.Queue(records)
        self._bytes = 0
        # By trace, the last /predict of those that wait.
        self._bodies: dict[str, Prediction] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._logged_at = -_QUIET

    def record(self, record: Prediction) -> None:
        """Have a prediction written soon. Never waits and never raises."""
        size = record.size()
        with self._lock:
            if fits := self._bytes + size <= BYTES:
                try:
                    self._waiting.put_nowait(record)
                    self._bytes += size
                    if record.body is not None:
                        self._bodies[record.trace_id] = record
                except queue.Full:
                    fits = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        if not fits:
            self._drop("full", 1)

    def body(self, trace_id: str) -> tuple[dict[str, Any], int] | None:
        """Return the last /predict body of a trace and the model version that answered it.

        None where there is none, or another process answered and has not written it yet.

        Raises:
            StoreError: the database does not answer.
        """
        with self._lock:
            waits = self._bodies.get(trace_id)
        if waits is not None and waits.body is not None:
            return json.loads(waits.body), waits.model_version
        kept = predictions.c
        bodies = sa.select(kept.body, kept.model_version)
        bodies = bodies.where(kept.model_name == self.store.model_name)
        bodies = bodies.where(kept.trace_id == trace_id, kept.body.is_not(None))
        with self.store.reading() as connection:
            row = connection.execute(bodies.order_by(kept.id.desc()).limit(1)).one_or_none()
        return None if row is None else (json.loads(row.body), row.model_version)

    def depth(self) -> int:
        """Count the records that wait to be written."""
        return self._waiting.qsize()

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for at most `timeout` seconds; the rest is dropped."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        until = time.monotonic() + timeout
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while True:
            record = self._waiting.get()
            if record is not None:
                time.sleep(_GATHER)
            batch = [] if record is None else [record]
            while record is not None and len(batch) < BATCH:
                try:
                    record = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if record is not None:
                    batch.append(record)
            self._write(batch)
            if record is None:
                return

    def _write(self, batch: list[Prediction]) -> None:
        if not batch:
            return
        try:
            rows = [record.row() | {"model_name": self.store.model_name} for record in batch]
            with self.store.writing() as connection:
                connection.execute(predictions.insert(), rows)
            self.stored += len(batch)
        except Exception as error:  # noqa: BLE001 - no record may end the thread
            self._drop("failed", len(batch), error)
        finally:
            with self._lock:
                self._bytes -= sum(record.size() for record in batch)
                for record in batch:
                    if self._bodies.get(record.trace_id) is record:
                        del self._bodies[record.trace_id]

    def _drop(self, reason: str, count: int, error: Exception | None = None) -> None:
        with self._lock:
            self.dropped[reason] += count
            is_loud = time.monotonic() - self._logged_at > _QUIET
            if is_loud:
                self._logged_at = time.monotonic()
            total = dict(self.dropped)
        if self._on_dropped is not None:
            self._on_dropped(reason, count)
        if is_loud:
            cause = str(error) if error else "more records than can be written"
            log.warning("predictions not stored", reason=reason, cause=cause, dropped=total)
