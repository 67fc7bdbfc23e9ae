"""Store predictions in the background.

An answer never waits for the database: a record goes into a bounded queue, and one thread writes
batches of them. A record that finds the queue full, the database failing or at its size limit is
dropped and counted, and the answer says so where that is known by then.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from lib.settings import Settings
from lib.storage import Store, StoreError, predictions, utcnow
from serving.records.bodies import pack_body, unpack_body
from serving.records.database_state import DatabaseFile, measure_bytes
from serving.records.prediction import Prediction

RECORDS = 5_000  # that may wait to be written
BYTES = 64_000_000  # that they may hold together
BATCH = 500  # records a transaction
_GATHER = 0.05  # seconds to wait for others after the first of a batch
_QUIET = 60.0  # seconds between two log lines about dropped records
_MEASURE = 30.0  # seconds between two looks at the size of the database
_NOTICE = timedelta(hours=1)  # that a database which was deleted is reported
log = structlog.get_logger()


class Recorder:
    """Stores predictions in the background. Its thread starts with the first of them.

    Attributes:
        store: the database.
        stored: records written since the start of this process.
        dropped: records not written, by reason: "full", "failed" or "limit".
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_dropped: Callable[[str, int], None] | None = None,
        on_measured: Callable[[int], None] | None = None,
        records: int = RECORDS,
    ) -> None:
        """Prepare a recorder; it may be made before a fork.

        Args:
            settings: of this installation.
            on_dropped: called with reason and number of dropped records.
            on_measured: called with the bytes of the database, now and then.
            records: that may wait to be written.
        """
        self.store = Store.of(settings)
        self.stored = 0
        self.dropped = {"full": 0, "failed": 0}
        self._on_dropped = on_dropped
        self._on_measured = on_measured
        self._limit = 1_000_000 * settings.database_max_mb
        self._measured_at = -_MEASURE
        self._is_over_limit = False
        self._file = DatabaseFile(self.store)
        self._trouble = ""  # why the last records were not written
        self._lost_at: datetime | None = None
        self._waiting: queue.Queue[Prediction | None] = queue.Queue(records)
        self._bytes = 0
        # By trace, the last /predict of those that wait.
        self._bodies: dict[str, Prediction] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._logged_at = -_QUIET

    def record(self, record: Prediction) -> bool:
        """Have a prediction written soon; see `record_all`. Returns whether it will be."""
        return self.record_all([record]) == 0

    def record_all(self, records: Sequence[Prediction]) -> int:
        """Have predictions written soon. Never waits and never raises.

        Returns:
            How many will not be, as far as is known: those for which too many wait, or all where
            the last ones could not be written.
        """
        dropped = 0
        with self._lock:
            for record in records:
                size = record.size()
                if self._bytes + size > BYTES:
                    dropped += 1
                    continue
                try:
                    self._waiting.put_nowait(record)
                except queue.Full:
                    dropped += 1
                    continue
                self._bytes += size
                if record.body is not None:
                    self._bodies[record.trace_id] = record
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        if dropped:
            self._drop("full", dropped)
        return len(records) if self.trouble() else dropped

    def trouble(self) -> str:
        """Return why predictions are not stored now; empty where they are."""
        if self._file.is_lost():
            return "the file of the database was deleted or replaced"
        return self._trouble

    def notice(self) -> str:
        """Return what people should know although predictions are stored; mostly nothing."""
        if self._lost_at is None or utcnow() - self._lost_at > _NOTICE:
            return ""
        return (
            f"the file of the database was deleted while in use ({self._lost_at:%Y-%m-%d %H:%M} "
            "UTC) and made anew: what it held is lost"
        )

    def reopen_if_lost(self) -> None:
        """Open the database anew where its file is gone: what is written there is lost."""
        if self._file.is_lost():
            log.error("database file was deleted or replaced; it is opened anew")
            self._lost_at = utcnow()
            self.store.close()
            self._file.forget()

    def body(self, trace_id: str) -> tuple[dict[str, Any], int] | None:
        """Return the last /predict body of a trace and the model version that answered it.

        None where there is none, or another process answered and has not written it yet.

        Raises:
            StoreError: the database does not answer.
        """
        with self._lock:
            waits = self._bodies.get(trace_id)
        if waits is not None and waits.body is not None:
            return unpack_body(pack_body(waits.body)), waits.model_version
        kept = predictions.c
        bodies = sa.select(kept.body, kept.model_version)
        bodies = bodies.where(kept.model_name == self.store.model_name)
        bodies = bodies.where(kept.trace_id == trace_id, kept.body.is_not(None))
        with self.store.reading() as connection:
            row = connection.execute(bodies.order_by(kept.id.desc()).limit(1)).one_or_none()
        return None if row is None else (unpack_body(row.body), row.model_version)

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
            self.reopen_if_lost()
            self._measure()
            if self._is_over_limit:
                self._trouble = "the database is larger than DATABASE_MAX_MB"
                self._drop("limit", len(batch), self._trouble)
                return
            rows = [record.row() | {"model_name": self.store.model_name} for record in batch]
            with self.store.writing() as connection:
                connection.execute(predictions.insert(), rows)
            self._file.remember()
            self.stored += len(batch)
            self._trouble = ""
        except Exception as error:  # noqa: BLE001 - no record may end the thread
            if isinstance(error, StoreError):
                self._trouble = "the database refused the last predictions"
            self._drop("failed", len(batch), str(error))
        finally:
            with self._lock:
                self._bytes -= sum(record.size() for record in batch)
                for record in batch:
                    if self._bodies.get(record.trace_id) is record:
                        del self._bodies[record.trace_id]

    def _measure(self) -> None:
        """Look now and then whether the database has reached its limit."""
        if time.monotonic() - self._measured_at < _MEASURE:
            return
        size = measure_bytes(self.store)
        self._measured_at = time.monotonic()
        self._is_over_limit = 0 < self._limit < size
        if self._on_measured is not None:
            self._on_measured(size)

    def _drop(
        self, reason: str, count: int, cause: str = "more records than can be written"
    ) -> None:
        with self._lock:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
            is_loud = time.monotonic() - self._logged_at > _QUIET
            if is_loud:
                self._logged_at = time.monotonic()
            total = dict(self.dropped)
        if self._on_dropped is not None:
            self._on_dropped(reason, count)
        if is_loud:
            log.warning("predictions not stored", reason=reason, cause=cause, dropped=total)
