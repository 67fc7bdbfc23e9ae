"""Limit how much of a process one kind of call may hold at a time."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from flask import Request
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

_LATER = 5  # seconds after which to send a dear request again


def refuse_beyond_turn(request: Request) -> None:
    """Refuse a dear request that the server has no place for.

    Raises:
        TooManyRequests: 429, its client has as many waiting as it may.
        ServiceUnavailable: 503, the process has.
    """
    status = getattr(request.environ.get("gunicorn.socket"), "refused", 0)
    if status == 429:
        raise TooManyRequests("As many large calls of this client wait as may", retry_after=_LATER)
    if status:
        raise ServiceUnavailable("Too many large calls wait; try again later", retry_after=_LATER)


def has_arrived(request: Request) -> bool:
    """Tell whether the body of a request is here: reading it then waits for no client."""
    return getattr(request.environ.get("gunicorn.socket"), "is_received", True)


class ConcurrencyLimit:
    """Slots of this process for one kind of call."""

    def __init__(
        self, number: int, *, wait: float, retry_after: int, detail: str, patience: float = 0.0
    ) -> None:
        """Make the slots.

        Args:
            number: calls that may run at a time.
            wait: seconds that a call waits for a slot.
            retry_after: seconds after which a refused client should try again.
            detail: of the problem document of a refused call.
            patience: seconds that one call at a time goes on to wait, which keeps one more thread.
        """
        self._free = threading.BoundedSemaphore(number)
        self._first = threading.Lock()  # of those that wait
        self._wait = wait
        self._patience = patience
        self._retry_after = retry_after
        self._detail = detail

    @contextmanager
    def slot(self) -> Generator[None]:
        """Hold a slot. Raises ServiceUnavailable (503) where none gets free in time."""
        if not (self._free.acquire(timeout=self._wait) or self._wait_on()):
            raise ServiceUnavailable(self._detail, retry_after=self._retry_after)
        try:
            yield
        finally:
            self._free.release()

    def _wait_on(self) -> bool:
        """Wait on, if no other call does, and return whether a slot got free."""
        if not self._patience or not self._first.acquire(blocking=False):
            return False
        try:
            return self._free.acquire(timeout=self._patience)
        finally:
            self._first.release()
