"""A gunicorn worker that shares connections fairly and that one slow client cannot hold up.

The processes share a listening socket. The one that wakes first takes a whole burst of
connections, and keeps them: of two processes one would do all the work. Compared with gunicorn's
threaded worker, this one

- lets an idle process take a connection before a busy one takes its second;
- keeps the thread of a connection for a moment after an answer, which saves two changes of thread
  when the client's next request follows at once;
- answers the usual requests that arrive together in one thread and one batch;
- gives a thread to a request when it has arrived, the body of a large forecast in a file: a slow
  client costs none;
- computes one dear request at a time, and lets the others wait without a thread;
- takes the thread back from a client that sends a body in chunks or reads its answer too slowly;
- closes a connection whose body nobody has read, rather than wait for it;
- does not wait for a client that stays after the last answer;
- stops in two steps: for some seconds it goes on, answers `Connection: close` and is not ready, so
  that balancers and clients go elsewhere; then it closes its socket.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from gunicorn.http.errors import (
    ConfigurationProblem,
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from lib.log import list_frames
from serving.http.admission import Admission
from serving.http.batch_worker import BatchWorker
from serving.http.chunks import bound_chunks
from serving.http.connection import Client
from serving.http.problems import MEDIA_TYPE
from serving.http.security import HEADERS, Keys
from serving.http.uploads import Upload, UploadSpace

_COURTESY = 0.0003  # seconds that a busy process waits: an idle one takes a connection in less
_STAY = 2  # milliseconds that a thread waits for its client's next request
_DOOR = 1.0  # seconds that a process which stops goes on to accept, where nobody connects
_DRAIN = 6.0  # and where clients do: a balancer has seen by then that it is not ready
_LEAVE = 1.0  # seconds for idle clients after that
_SWEEP = 0.25  # seconds between two looks for requests that take too long to arrive
_AHEAD = 2_000_000  # bytes of a request that are received before a thread gets it,
_AHEAD_ALL = 64_000_000  # and of all connections together
_DEAR = 200_000  # bytes of a request from which on only one is computed at a time
_LARGEST = 64_000_000  # bytes of a body that is received into a file,
_UPLOAD = re.compile(rb"POST (?:http://[^/ ]*)?/forecast[ ?]")  # for this call alone
_KEY = re.compile(rb"\r\n(?:x-api-key:|authorization:[ \t]*bearer )[ \t]*([^\r]*)", re.IGNORECASE)
_WAITS = object()  # the result of a request that waits for its turn
_STATUS = {
    LimitRequestLine: 414,
    LimitRequestHeaders: 431,
    ExpectationFailed: 417,
    UnsupportedTransferCoding: 501,
}
log = structlog.get_logger()


class FairWorker(BatchWorker):
    """gunicorn's threaded worker with fair sharing and time limits.

    Attributes:
        keys: that are accepted; the server sets them.
        is_untrained: tells whether nothing was trained yet; the server sets it. What is posted is
            dear then, since the pretrained network is calibrated on what a `/forecast` sends.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what gunicorn gives a worker."""
        super().__init__(*args, **kwargs)
        self.keys = Keys(())
        self.is_untrained: Callable[[], bool] = lambda: False
        self._admission = Admission()
        self._uploads = UploadSpace()
        self._stopping_since: float | None = None
        self._is_used = False  # while it stops
        self._swept_at = 0.0

    @property
    def is_stopping(self) -> bool:
        """Whether the process was told to stop."""
        return self._stopping_since is not None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop (SIGTERM); at once where it has begun already."""
        if self._stopping_since is not None:
            super().handle_exit(sig, frame)
            return
        self._stopping_since = time.monotonic()
        self.method_queue.defer(lambda: None)  # wakes the main thread

    def accept(self, listener: Any) -> None:
        """Accept a connection, unless another process was faster."""
        if self.nr_conns and self.cfg.workers > 1:
            time.sleep(_COURTESY)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Let a thread answer the requests of a connection."""
        if not isinstance(conn.sock, Client):
            conn.sock = Client(fileno=conn.sock.detach())
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow at once while no other client waits."""
        if conn.sock.closing:
            return self.close_connection(conn)
        if not self.has_arrived(conn, wait=not conn.initialized and not conn.data_ready):
            return self._defer() if time.monotonic() < conn.sock.latest() else False
        conn.data_ready = True  # it was received, so gunicorn need not wait for it
        result = self._handle_in_turn(conn)
        while result is True and self.alive and self._has_next(conn):
            result = self._handle_in_turn(conn)
        return result or self.close_connection(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request, and close the connection where it cannot go on."""
        bound_chunks(req)
        should_close, conn.sock.stopping = req.should_close, self._stopping_since is not None
        # Called when the answer is sent. A process that stops answers "Connection: close", and the
        # client sends its next request to another one.
        req.should_close = lambda: (
            self._stopping_since is not None or _has_unread(req) or should_close()
        )
        try:
            return super().handle_request(req, conn)
        finally:
            # The parser looks at it before the next request, which is answered if it arrives.
            req.should_close = should_close

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Wait for the client of a connection that has no request now, but not for ever."""
        result = None if fs.cancelled() or fs.exception() else fs.result()
        if result is _WAITS:
            return
        if result is True and conn.sock.has_more():
            self.enqueue_req(conn)  # behind the others; no event would announce what is here
            return
        super().finish_request(conn, fs)
        if self.pending_conns and self.pending_conns[-1] is conn:
            conn.timeout = min(conn.timeout, conn.sock.latest())

    def murder_pending(self) -> None:
        """Close connections whose request has not arrived in time."""
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP:
            self._swept_at = now
            # gunicorn looks at the first of them until one has time left.
            self.pending_conns = deque(sorted(self.pending_conns, key=lambda conn: conn.timeout))
            super().murder_pending()
            for conn in self._admission.take_overdue():
                conn.sock.refused = 503
                self.enqueue_req(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is not HTTP with a problem document that quotes nothing of it.

        gunicorn would answer with a page, and log the line that is wrong, which may hold a key.
        """
        known = isinstance(exc, ParseException | ConfigurationProblem)
        status = _STATUS.get(type(exc), 400) if known else 500
        where = {} if known else {"where": list_frames(exc)}
        log.warning("request refused", status=status, error=type(exc).__name__, **where)
        phrase = HTTPStatus(status).phrase
        detail = f"expected a request of HTTP/1.1, got one that is wrong: {type(exc).__name__}"
        problem = {"type": "about:blank", "title": phrase, "status": status, "detail": detail}
        body = json.dumps(problem)
        head = [
            f"HTTP/1.1 {status} {phrase}",
            "Connection: close",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in HEADERS.items()),
        ]
        with suppress(OSError):  # the client has gone
            client.sendall("\r\n".join([*head, "", body]).encode())

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for connections; when the server stops, not for idle ones."""
        if self.alive and self._stopping_since is not None:
            # Each answer closes its connection, and a balancer opens the next: there may be none
            # at this moment, and one that is not accepted any more when the socket closes is lost.
            self._is_used |= self.nr_conns > 0
            passed = time.monotonic() - self._stopping_since
            self.alive = passed < (_DRAIN if self._is_used else _DOOR)
            timeout = min(timeout, _DOOR / 4)
        if self.pending_conns:
            timeout = min(timeout, _SWEEP)
        if not self.alive:
            latest = time.monotonic() + _LEAVE
            for idle in (*self.keepalived_conns, *self.pending_conns):
                idle.timeout = min(idle.timeout, latest)
            timeout = min(timeout, _LEAVE / 4)
        super().wait_for_and_dispatch_events(timeout)

    def _handle_in_turn(self, conn: Any) -> Any:
        """Answer a request; a dear one when it is its turn."""
        sock = conn.sock
        if sock.is_usual and (kept := self.answer_batch([conn])[0]) is not None:
            return kept
        client = self._client_of(sock.head, conn) if self._is_dear(sock) else None
        if client is None or sock.refused:
            try:
                return self._handle_in_time(conn)
            finally:
                sock.refused = 0
        status = self._admission.enter(conn, client)
        if status is None:
            return _WAITS
        if status:
            sock.refused = status
            return self._handle_in_turn(conn)
        try:
            return self._handle_in_time(conn)
        finally:
            if (following := self._admission.leave()) is not None:
                self.method_queue.defer(self.enqueue_req, following)

    def _is_dear(self, sock: Client) -> bool:
        # Whatever its path is written like.
        return sock.size > _DEAR or (sock.head.startswith(b"POST ") and self.is_untrained())

    def _client_of(self, head: bytes, conn: Any) -> str | None:
        """Return who sends a request: a key or an address; None for one that is not let in."""
        if not self.keys:
            return str(conn.client[0] if isinstance(conn.client, tuple) else conn.client)
        found = _KEY.search(head)
        number = self.keys.number_of(found[1].strip().decode("latin-1")) if found else None
        return None if number is None else f"key {number}"

    def _reserve(self, head: bytes, length: int, conn: Any) -> Upload | None:
        """Make room for a large body of a client that is let in."""
        if length > _LARGEST or not _UPLOAD.match(head):
            return None
        client = self._client_of(head, conn)
        try:
            return None if client is None else self._uploads.reserve(client, length)
        except OSError as error:
            log.error("large body not received", error=error.strerror)
            return None

    def _handle_in_time(self, conn: Any) -> Any:
        conn.sock.begin()
        result = super().handle(conn)
        try:
            conn.sock.flush()
        except OSError:  # the client has gone
            return False
        return result

    def close_connection(self, conn: Any) -> Any:
        """Let the main thread wait for the client to close: gunicorn waits for one at a time."""
        conn.sock.deadline = 0.0  # or closing it would wait once more
        return False if conn.sock.has_left() else self._defer()

    def _defer(self) -> Any:
        """Return what gives a connection to the main thread, which waits for many at once.

        gunicorn has no public name for it. It is what its worker returns for a client that sends
        nothing, so that is what it gets here.
        """
        return super().handle(_SilentConnection())

    def _has_next(self, conn: Any) -> bool:
        # What was read already, with the request before: no event would announce it.
        conn.sock.give_back(conn.parser.unreader.take_buffered())
        # Of a quick client the next request is always here: it would keep the thread to itself.
        return self.nr_conns <= self.cfg.threads and self.has_arrived(conn, wait=True)

    def has_arrived(self, conn: Any, *, wait: bool) -> bool:
        """Tell whether a request can be answered; with `wait`, after a moment."""
        most = min(_AHEAD, _AHEAD_ALL // max(1, self.nr_conns))

        def reserve(head: bytes, length: int) -> Upload | None:
            return self._reserve(head, length, conn)

        if conn.sock.has_request(most, reserve):
            return True
        return wait and _readable(conn.sock) and conn.sock.has_request(most, reserve)


class _SilentConnection:
    """As much of a gunicorn connection as is looked at before its first byte."""

    initialized = False
    data_ready = False

    def wait_for_data(self, timeout: float) -> bool:
        """Return False: nothing arrived in time."""
        return False


def _has_unread(req: Any) -> bool:
    """Tell whether a body is still to arrive that the application has not read."""
    reader = req.body.reader
    if getattr(reader, "parser", None) is not None:  # of a body in chunks
        return True
    return getattr(reader, "length", 0) > req.unreader.buf.getbuffer().nbytes


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(_STAY))
