"""Limit what one client may have computed: token buckets, one a client."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict

from werkzeug.exceptions import TooManyRequests

_CLIENTS = 10_000  # remembered; the one that called longest ago is forgotten first


class TokenBuckets:
    """Tokens of each client of this process: they come back at a rate, up to a burst.

    A call is admitted while its client has any token, whatever it costs. What it takes beyond them
    is paid back before the next one: so a call that costs more than a burst is possible.
    """

    def __init__(self, rate: float, burst: float, *, clients: int = _CLIENTS) -> None:
        """Fill the buckets.

        Args:
            rate: tokens a second that come back; 0 limits nothing.
            burst: tokens of a client that has been silent.
            clients: that are remembered.
        """
        self._rate = rate
        self._burst = burst
        self._most = clients
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at

    def take(self, client: str, cost: float, *, now: float | None = None) -> float:
        """Take tokens. Returns 0, or the seconds after which a client that has none gets one."""
        if not self._rate:
            return 0.0
        now = time.monotonic() if now is None else now
        with self._lock:
            tokens, at = self._buckets.get(client, (self._burst, now))
            tokens = min(self._burst, tokens + (now - at) * self._rate)
            if admitted := tokens > 0:
                tokens -= cost
            self._keep(client, tokens, now)
        return 0.0 if admitted else (1.0 - tokens) / self._rate

    def charge(self, client: str, cost: float) -> None:
        """Take tokens for a call that was admitted and has turned out to cost more."""
        if not self._rate:
            return
        with self._lock:
            tokens, at = self._buckets.get(client, (self._burst, time.monotonic()))
            self._keep(client, tokens - cost, at)

    def _keep(self, client: str, tokens: float, at: float) -> None:
        self._buckets[client] = tokens, at
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)

    def is_empty(self, client: str) -> bool:
        """Tell whether a client has no token; takes none."""
        return self.take(client, 0.0) > 0


def refuse_for(seconds: float, detail: str) -> TooManyRequests:
    """Make the refusal (429) of a client that has to wait."""
    return TooManyRequests(detail, retry_after=math.ceil(seconds))
