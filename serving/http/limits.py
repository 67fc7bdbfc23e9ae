"""Limit how many threads of a process one kind of call may hold at a time."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from werkzeug.exceptions import ServiceUnavailable


class ConcurrencyLimit:
    """Slots of this process for one kind of call."""

    def __init__(self, number: int, *, wait: float, retry_after: int, detail: str) -> None:
        """Make the slots.

        Args:
            number: calls that may run at a time.
            wait: seconds that a call waits for a slot.
            retry_after: seconds after which a refused client should try again.
            detail: of the problem document of a refused call.
        """
        self._free = threading.BoundedSemaphore(number)
        self._wait = wait
        self._retry_after = retry_after
        self._detail = detail

    @contextmanager
    def slot(self) -> Generator[None]:
        """Hold a slot. Raises ServiceUnavailable (503) where none gets free in time."""
        if not self._free.acquire(timeout=self._wait):
            raise ServiceUnavailable(self._detail, retry_after=self._retry_after)
        try:
            yield
        finally:
            self._free.release()
