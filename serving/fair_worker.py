"""A gunicorn worker that leaves new connections to the one that has fewer.

The processes share a listening socket, and the one that wakes first takes a whole burst of
connections, which then stay with it: of two processes one would do all the work.
"""

from __future__ import annotations

import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

_COURTESY = 0.0003  # seconds: an idle process needs less to take the connection


class FairWorker(ThreadWorker):
    """Waits a moment before it accepts another connection than its first."""

    def accept(self, listener: Any) -> None:
        """Accept a connection, unless another process was faster."""
        if self.nr_conns and self.cfg.workers > 1:
            time.sleep(_COURTESY)
        super().accept(listener)
