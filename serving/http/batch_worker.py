"""A gunicorn worker that answers the usual requests which arrive together in one thread and batch.

A thread for each would change hands several times a request, and its inference would be one of few
windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent import futures
from typing import Any, Protocol

import structlog
from gunicorn.workers.gthread import ThreadWorker

from lib.log import list_frames
from serving.http.usual_request import read_usual_head, write_answer

_BATCH = 16  # requests of a batch: more would make the first wait for the last
log = structlog.get_logger()


class Batches(Protocol):
    """What answers several usual requests at once."""

    def prepare(self, environ: dict[str, Any], body: bytes) -> Any:
        """Read a request; None for one that has to be answered by the long way."""
        ...

    def answer(self, calls: list[Any]) -> Sequence[tuple[bytes, list[tuple[str, str]]] | None]:
        """Return body and headers of each answer; None as above."""
        ...

    def report(self, calls: list[Any]) -> None:
        """Log and count calls whose answers were sent."""
        ...


class BatchWorker(ThreadWorker):
    """gunicorn's threaded worker with batches.

    Attributes:
        batches: what answers several usual requests at once; the server sets it.
    """

    batches: Batches | None = None
    is_stopping = False
    _ready: list[Any] | None = None  # connections with usual requests, while events are looked at

    def has_arrived(self, conn: Any, *, wait: bool) -> bool:
        """Tell whether a request can be answered; with `wait`, after a moment."""
        raise NotImplementedError

    def close_connection(self, conn: Any) -> Any:
        """Return the result of a connection whose last answer was sent."""
        raise NotImplementedError

    def enqueue_req(self, conn: Any) -> None:
        """Let a thread answer the requests of a connection, perhaps with those of others."""
        if self._ready is not None and self._is_usual(conn):
            self._ready.append(conn)
        else:
            super().enqueue_req(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for connections, and collect the usual requests that have arrived."""
        self._ready = ready = []
        super().wait_for_and_dispatch_events(timeout)
        self._ready = None
        if len(ready) == 1:
            self.enqueue_req(ready[0])
        elif ready:
            pool: Any = self.tpool
            size = -(-len(ready) // -(-len(ready) // _BATCH))  # batches of about the same size
            for start in range(0, len(ready), size):
                pool.submit(self._handle_batch, ready[start : start + size])

    def _is_usual(self, conn: Any) -> bool:
        """Tell whether a whole request is here that can be answered in a batch."""
        if self.batches is None or conn.sock.closing:
            return False
        return self.has_arrived(conn, wait=False) and conn.sock.is_usual

    def _handle_batch(self, conns: list[Any]) -> None:
        """Answer one request of each connection."""
        results = []
        try:
            kept = self.answer_batch(conns)
        except Exception as error:  # noqa: BLE001 - or these connections would stay for ever
            log.error("batch failed", error=type(error).__name__, where=list_frames(error))
            kept = [False] * len(conns)
        for conn, result in zip(conns, kept, strict=True):
            if result is None:  # by the long way, in a thread of its own
                self.method_queue.defer(super().enqueue_req, conn)
            else:
                results.append((conn, result or self.close_connection(conn)))
        self.method_queue.defer(self._finish_batch, results)

    def _finish_batch(self, results: list[tuple[Any, Any]]) -> None:
        for conn, result in results:
            if result is True and conn.sock.has_more():
                super().enqueue_req(conn)  # no event would announce what was received already
                continue
            done: futures.Future[Any] = futures.Future()
            done.set_result(result)
            self.finish_request(conn, done)

    def answer_batch(self, conns: list[Any]) -> list[bool | None]:
        """Answer usual requests. Returns whether each connection is kept; None for no answer."""
        results: list[bool | None] = [None] * len(conns)
        if self.batches is None:
            return results
        calls = {}
        for number, conn in enumerate(conns):
            environ: dict[str, Any] | None = read_usual_head(conn.sock.head)
            if environ is not None:
                environ["REMOTE_ADDR"] = conn.client[0] if isinstance(conn.client, tuple) else ""
                call = self.batches.prepare(environ, conn.sock.peek_body())
                if call is not None:
                    calls[number] = call
        if not calls:
            return results
        answers = self.batches.answer(list(calls.values()))
        answered = []
        for (number, call), answer in zip(calls.items(), answers, strict=True):
            if answer is not None:
                results[number] = self._send(conns[number], *answer)
                answered.append(call)
        self.batches.report(answered)  # now: while the clients read, it takes nobody's time
        return results

    def _send(self, conn: Any, text: bytes, headers: list[tuple[str, str]]) -> bool:
        """Send an answer, and return whether the connection is kept."""
        conn.init()
        conn.sock.take_request()
        closes = self.is_stopping or not self.alive
        is_sent = conn.sock.send_at_once(write_answer(text, headers, closes=closes))
        return is_sent and not closes
