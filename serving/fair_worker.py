"""A gunicorn worker that shares connections fairly and that one slow client cannot hold up.

The processes share a listening socket, and the one that wakes first takes a whole burst of
connections, which then stay with it: of two processes one would do all the work. gunicorn's own
hands a connection back to its main thread after every answer, which costs two changes of thread a
request; gives a thread to whoever connects, for as long as that sends nothing or little; and
stops only when those who keep an idle connection have left.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Any

from gunicorn.workers.gthread import _DEFER, ThreadWorker

_COURTESY = 0.0003  # seconds: an idle process needs less to take the connection
_STAY = 2  # milliseconds that a thread waits for its client's next request
_READ = 10.0  # seconds for a request to arrive in,
_RATE = 65536  # and one more for so many bytes of it
_LEAVE = 1.0  # seconds for idle clients when the server stops


class Client(socket.socket):
    """A connection whose requests have to arrive in time."""

    deadline = float("inf")

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As a socket's. Raises OSError (ECONNRESET) past the deadline, which data moves."""
        self.settimeout(max(self.deadline - time.monotonic(), 0.001))
        try:
            data = super().recv(bufsize, flags)
        except TimeoutError:
            # What gunicorn and werkzeug take for a client that has gone.
            raise OSError(errno.ECONNRESET, "the request did not arrive in time") from None
        finally:
            self.settimeout(None)
        self.deadline += len(data) / _RATE
        return data


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
        if not conn.initialized and not conn.data_ready and not _readable(conn.sock):
            return _DEFER  # to the main thread, which waits for many
        result = self._in_time(conn)
        while result is True and self.alive and self._asks_again(conn):
            result = self._in_time(conn)
        return result

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
        return super().handle(conn)

    def _asks_again(self, conn: Any) -> bool:
        return self.nr_conns <= self.cfg.threads and _readable(conn.sock)


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(_STAY))
