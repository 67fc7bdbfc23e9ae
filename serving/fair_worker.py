"""A gunicorn worker that shares connections fairly and stays with a client that keeps asking.

The processes share a listening socket, and the one that wakes first takes a whole burst of
connections, which then stay with it: of two processes one would do all the work. And gunicorn's
own hands a connection back to its main thread after every answer, which costs two changes of
thread a request.
"""

from __future__ import annotations

import select
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

_COURTESY = 0.0003  # seconds: an idle process needs less to take the connection
_STAY = 2  # milliseconds that a thread waits for its client's next request


class FairWorker(ThreadWorker):
    """Waits before it takes a second connection, and before it gives one back."""

    def accept(self, listener: Any) -> None:
        """Accept a connection, unless another process was faster."""
        if self.nr_conns and self.cfg.workers > 1:
            time.sleep(_COURTESY)
        super().accept(listener)

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow at once while nobody waits for a thread."""
        result = super().handle(conn)
        while result is True and self.alive and self._asks_again(conn):
            result = super().handle(conn)
        return result

    def _asks_again(self, conn: Any) -> bool:
        if self.nr_conns > self.cfg.threads:
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(_STAY))
