"""Admit requests by their cost: of the dear ones a process computes one at a time.

Those that wait hold no thread. The clients take turns, however many requests each has sent.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from typing import Any

_WAITING = 32  # dear requests of a process that may wait,
_WAITING_EACH = 8  # and of one client
_PATIENCE = 20.0  # seconds that one waits


class Admission:
    """The dear requests of a process: one that runs, and those that wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Any = None
        # By client; the first one is next.
        self._waiting: OrderedDict[str, deque[tuple[Any, float]]] = OrderedDict()
        self._count = 0

    def enter(self, connection: Any, client: str) -> int | None:
        """Let a request run, wait or be refused.

        Args:
            connection: that it came by.
            client: who sent it.

        Returns:
            0 where it runs: `leave` follows. None where it waits. The status of its refusal: 429
            where its client has too many, 503 where the process has.
        """
        with self._lock:
            if self._running is None or self._running is connection:
                self._running = connection
                return 0
            if self._count >= _WAITING:
                return 503
            line = self._waiting.setdefault(client, deque())
            if len(line) >= _WAITING_EACH:
                return 429
            line.append((connection, time.monotonic()))
            self._count += 1
            return None

    def leave(self) -> Any:
        """End the request that runs. Returns the connection whose turn it is; None for none."""
        with self._lock:
            self._running = None
            if not self._waiting:
                return None
            client, line = self._waiting.popitem(last=False)
            self._running, _ = line.popleft()
            self._count -= 1
            if line:
                self._waiting[client] = line  # behind the others
            return self._running

    def take_overdue(self) -> list[Any]:
        """Return the connections that have waited too long; they wait no more."""
        latest = time.monotonic() - _PATIENCE
        with self._lock:
            overdue = []
            for client, line in list(self._waiting.items()):
                while line and line[0][1] < latest:
                    overdue.append(line.popleft()[0])
                if not line:
                    del self._waiting[client]
            self._count -= len(overdue)
            return overdue
