"""A few threads answer everybody: how many of them one kind of call may hold at a time."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from werkzeug.exceptions import ServiceUnavailable


class ConcurrencyLimit:
    """Places of this process for one kind of call."""

    def __init__(self, number: int, *, wait: float, retry_after: int, detail: str) -> None:
        """`wait` is in seconds, as is `retry_after`; `detail` is what is told without a place."""
        self._free = threading.BoundedSemaphore(number)
        self._wait = wait
        self._retry_after = retry_after
        self._detail = detail

    @contextmanager
    def one(self) -> Generator[None]:
        """Hold a place. Raises ServiceUnavailable (503) where none gets free in time."""
        if not self._free.acquire(timeout=self._wait):
            raise ServiceUnavailable(self._detail, retry_after=self._retry_after)
        try:
            yield
        finally:
            self._free.release()
