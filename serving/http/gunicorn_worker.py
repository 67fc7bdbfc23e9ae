"""A gunicorn worker that shares connections fairly and that one slow client cannot hold up.

The processes share a listening socket. The one that wakes first takes a whole burst of
connections, and keeps them: of two processes one would do all the work. Compared with gunicorn's
threaded worker, this one

- lets an idle process take a connection before a busy one takes its second;
- keeps the thread of a connection for a moment after an answer, which saves two changes of thread
  when the client's next request follows at once;
- takes the thread back from a client that sends nothing, sends too slowly, or reads too slowly;
- does not wait for a client that stays after the last answer;
- stops without waiting for idle connections.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
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
from gunicorn.workers.gthread import ThreadWorker

from lib.log import list_frames
from serving.http.problems import MEDIA_TYPE
from serving.http.security import HEADERS

_COURTESY = 0.0003  # seconds that a busy process waits: an idle one takes a connection in less
_STAY = 2  # milliseconds that a thread waits for its client's next request
_READ = 10.0  # seconds for a request to arrive,
_RATE = 65536  # and one more for so many bytes; likewise for the answer to be read
_TAKE = 30.0  # seconds for a client to read any of its answer
_LEAVE = 1.0  # seconds for idle clients when the server stops
_CHUNK = 65536  # bytes read at once: gunicorn asks for 8 kB, and a request is several times that
_SMALL = 4096  # bytes that are held back, to be sent with what follows
_IGNORED = 65536  # bytes that are read from a client after its last answer
_STATUS = {
    LimitRequestLine: 414,
    LimitRequestHeaders: 431,
    ExpectationFailed: 417,
    UnsupportedTransferCoding: 501,
}
log = structlog.get_logger()


class Client(socket.socket):
    """A connection with time limits for requests and answers, and an answer in one packet."""

    deadline = float("inf")
    closing = False  # its last answer was sent
    ignored = 0  # bytes that came after that
    _held = b""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive as a socket does, but more at once.

        Raises OSError (ECONNRESET) past the deadline, which received data extends.
        """
        with self._within(self.deadline - time.monotonic()):
            data = super().recv(max(bufsize, _CHUNK), flags)
        self.deadline += len(data) / _RATE
        return data

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send as a socket does, but the head of an answer with its body: one packet, not two.

        Raises OSError (ECONNRESET) for a client that does not read it.
        """
        held, self._held = self._held, b""
        if held or len(data) > _SMALL:
            self._send_whole(held + data, flags)
        else:
            self._held = data

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        """Send as a socket does. Raises OSError (ECONNRESET) for a client that does not read it."""
        self.flush()
        with self._within(_TAKE):
            return super().sendfile(*args, **kwargs)

    def shutdown(self, how: int, /) -> None:
        """Shut down as a socket does, after sending what is held back."""
        self.flush()
        super().shutdown(how)

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, b""
        if held:
            self._send_whole(held)

    def has_left(self) -> bool:
        """End the connection on this side, and tell whether the client has closed it. Never waits.

        Closed while the client still sends, it could lose the answer.
        """
        try:
            if not self.closing:
                self.closing = True
                self.shutdown(socket.SHUT_WR)
            data = super().recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self.ignored += len(data)
        return not data or self.ignored > _IGNORED

    def _send_whole(self, data: bytes, flags: int = 0) -> None:
        until = time.monotonic() + _TAKE + len(data) / _RATE
        rest = memoryview(data)
        while rest:
            with self._within(min(_TAKE, until - time.monotonic())):
                rest = rest[self.send(rest, flags) :]

    @contextmanager
    def _within(self, seconds: float) -> Generator[None]:
        self.settimeout(max(seconds, 0.001))
        try:
            yield
        except TimeoutError:
            # What gunicorn and werkzeug take for a client that has gone.
            raise OSError(errno.ECONNRESET, "the client is too slow") from None
        finally:
            self.settimeout(None)


class FairWorker(ThreadWorker):
    """gunicorn's threaded worker with fair sharing and time limits."""

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
            return self._close(conn)
        if not conn.initialized and not conn.data_ready and not _readable(conn.sock):
            return self._defer()
        result = self._handle_in_time(conn)
        while result is True and self.alive and self._has_next(conn):
            result = self._handle_in_time(conn)
        return result or self._close(conn)

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
        if not self.alive:
            latest = time.monotonic() + _LEAVE
            for idle in (*self.keepalived_conns, *self.pending_conns):
                idle.timeout = min(idle.timeout, latest)
            timeout = min(timeout, _LEAVE / 4)
        super().wait_for_and_dispatch_events(timeout)

    def _handle_in_time(self, conn: Any) -> Any:
        conn.sock.deadline = time.monotonic() + _READ
        result = super().handle(conn)
        try:
            conn.sock.flush()
        except OSError:  # the client has gone
            return False
        return result

    def _close(self, conn: Any) -> Any:
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
        if conn.parser.unreader.buf.getvalue().strip():
            return True  # read already, with the request before: no event would announce it
        return self.nr_conns <= self.cfg.threads and _readable(conn.sock)


class _SilentConnection:
    """As much of a gunicorn connection as is looked at before its first byte."""

    initialized = False
    data_ready = False

    def wait_for_data(self, timeout: float) -> bool:
        """Return False: nothing arrived in time."""
        return False


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(_STAY))
