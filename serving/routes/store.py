"""Access to the database during a request: few at a time, and a problem document if it fails."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import structlog
from werkzeug.exceptions import ServiceUnavailable

from lib.storage import StoreError
from serving.http import ConcurrencyLimit
from serving.state import state_of

AWAY = 5  # seconds after which to try again while the database or the model is away
log = structlog.get_logger()
# Fewer than a process has threads, with the one that waits longer: a slow database must not keep
# /predict waiting.
store_calls = ConcurrencyLimit(
    2,
    wait=0.25,
    patience=3.0,
    retry_after=1,
    detail="Too many calls wait for the store; try again in a moment",
)


@contextmanager
def store_access() -> Generator[None]:
    """Hold a slot for a call of the database.

    Raises:
        ServiceUnavailable: 503, where no slot gets free in time or the database fails.
    """
    try:
        with store_calls.slot():
            state_of().recorder.reopen_if_lost()
            yield
    except StoreError as error:
        log.warning("store failed", error=str(error))
        raise ServiceUnavailable("The store does not answer now", retry_after=AWAY) from error
