"""A gunicorn worker that shares connections fairly and that one slow client cannot hold up.

The processes share a listening socket, and the one that wakes first takes a whole burst of
connections, which then stay with it: of two processes one would do all the work. gunicorn's own
hands a connection back to its main thread after every answer, which costs two changes of thread a
request; gives a thread to whoever connects, for as long as that sends nothing or little; lets
everybody wait for a client that was told goodbye and does not leave; and stops only when those
who keep an idle connection have left.
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
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from serving.http.errors import frames
from serving.http.problems import MEDIA_TYPE as PROBLEM
from serving.http.security import HEADERS

_COURTESY = 0.0003  # seconds: an idle process needs less to take the connection
_STAY = 2  # milliseconds that a thread waits for its client's next request
_READ = 10.0  # seconds for a request to arrive in,
_RATE = 65536  # and one more for so many bytes of it, as for its answer
_TAKE = 30.0  # seconds for a client to take some of its answer
_LEAVE = 1.0  # seconds for idle clients when the server stops
_CHUNK = 65536  # bytes read at once: gunicorn asks for 8 kB, of which a request is several
_LITTLE = 4096  # bytes that are held back for what follows them
_IN_VAIN = 65536  # bytes that are taken from a client after its last answer
_STATUS = {
    LimitRequestLine: 414,
    LimitRequestHeaders: 431,
    ExpectationFailed: 417,
    UnsupportedTransferCoding: 501,
}
log = structlog.get_logger()


class Client(socket.socket):
    """A connection whose requests and answers have to pass in time, each answer in one piece."""

    deadline = float("inf")
    leaves = False  # was told goodbye
    in_vain = 0  # bytes that came after that
    _held = b""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As a socket's, but more at once.

        Raises OSError (ECONNRESET) past the deadline, which data moves.
        """
        with self._within(self.deadline - time.monotonic()):
            data = super().recv(max(bufsize, _CHUNK), flags)
        self.deadline += len(data) / _RATE
        return data

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """As a socket's, but the head of an answer waits for its body: one packet, not two.

        Raises OSError (ECONNRESET) for a client that does not take it.
        """
        held, self._held = self._held, b""
        if held or len(data) > _LITTLE:
            self._send_whole(held + data, flags)
        else:
            self._held = data

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        """As a socket's. Raises OSError (ECONNRESET) for a client that does not take it."""
        self.flush()
        with self._within(_TAKE):
            return super().sendfile(*args, **kwargs)

    def shutdown(self, how: int, /) -> None:
        """As a socket's."""
        self.flush()
        super().shutdown(how)

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, b""
        if held:
            self._send_whole(held)

    def has_left(self) -> bool:
        """Say goodbye, and whether the client has heard it; neither waits.

        Closed while it still sends, it would lose the answer.
        """
        try:
            if not self.leaves:
                self.leaves = True
                self.shutdown(socket.SHUT_WR)
            data = super().recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self.in_vain += len(data)
        return not data or self.in_vain > _IN_VAIN

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
    """Waits before it takes a second connection, and before it gives one back."""

    def accept(self, listener: Any) -> None:
        """Accept a connection, unless another process was faster."""
        if self.nr_conns and self.cfg.workers > 1:
            time.sleep(_COURTESY)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Let a thread answer what a connection asks."""
        if not isinstance(conn.sock, Client):
            conn.sock = Client(fileno=conn.sock.detach())
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow at once while nobody waits for a thread."""
        if conn.sock.leaves:
            return self._goodbye(conn)
        if not conn.initialized and not conn.data_ready and not _readable(conn.sock):
            return _DEFER  # to the main thread, which waits for many
        result = self._in_time(conn)
        while result is True and self.alive and self._asks_again(conn):
            result = self._in_time(conn)
        return result or self._goodbye(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Refuse what is no HTTP as any other fault is: by a problem, quoting nothing of it.

        gunicorn would answer with a page, and log the line that is wrong: it may hold a key.
        """
        known = isinstance(exc, ParseException | ConfigurationProblem)
        status = _STATUS.get(type(exc), 400) if known else 500
        where = {} if known else {"where": frames(exc)}
        log.warning("request refused", status=status, error=type(exc).__name__, **where)
        phrase = HTTPStatus(status).phrase
        detail = f"expected a request of HTTP/1.1, got one that is wrong: {type(exc).__name__}"
        problem = {"type": "about:blank", "title": phrase, "status": status, "detail": detail}
        body = json.dumps(problem)
        head = [
            f"HTTP/1.1 {status} {phrase}",
            "Connection: close",
            f"Content-Type: {PROBLEM}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in HEADERS.items()),
        ]
        with suppress(OSError):  # has gone
            client.sendall("\r\n".join([*head, "", body]).encode())

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for connections; when the server stops, not for those that ask nothing."""
        if not self.alive:
            latest = time.monotonic() + _LEAVE
            for idle in (*self.keepalived_conns, *self.pending_conns):
                idle.timeout = min(idle.timeout, latest)
            timeout = min(timeout, _LEAVE / 4)
        super().wait_for_and_dispatch_events(timeout)

    def _in_time(self, conn: Any) -> Any:
        conn.sock.deadline = time.monotonic() + _READ
        result = super().handle(conn)
        try:
            conn.sock.flush()
        except OSError:  # has gone
            return False
        return result

    def _goodbye(self, conn: Any) -> Any:
        """Let the main thread wait until the client leaves: gunicorn waits for one at a time."""
        conn.sock.deadline = 0.0  # or closing it would wait once more
        return False if conn.sock.has_left() else _DEFER

    def _asks_again(self, conn: Any) -> bool:
        if conn.parser.unreader.buf.getvalue().strip():
            return True  # read already, with the request before: nothing would wake anybody
        return self.nr_conns <= self.cfg.threads and _readable(conn.sock)


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(_STAY))
