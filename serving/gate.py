"""Who is let in: the host, the key, the turn and the rate of a request."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from flask import Request

from lib.settings import Settings
from serving.http import (
    Keys,
    TokenBuckets,
    check_host,
    is_host,
    is_open,
    key_of,
    refuse_beyond_turn,
    refuse_for,
)

_BURST = 10.0  # seconds of the rate that a client may use at once
_ROW_BYTES = 45  # of a day in JSON
_CHUNKED = 2_000_000  # bytes that a body without a length is taken for
_PREDICT_ROWS = 60  # whose days hold eleven numbers each


class Gate:
    """Lets requests of one process in, or refuses them."""

    def __init__(self, settings: Settings, hosts: Container[str] | None) -> None:
        """Take the keys and the rate of an installation, and the names it may be called by."""
        rate = settings.rate_limit_rows
        self._keys = Keys(settings.api_keys)
        self._rows = TokenBuckets(rate, _BURST * rate)
        self._hosts = hosts

    def check(self, request: Request) -> int | None:
        """Let a request in, and return the number of its key, if it needs one.

        Raises:
            HTTPException: 400 for another host, 401 without a key, 429 or 503 for too much.
        """
        if self._hosts is not None:
            check_host(request, self._hosts)
        number = self._keys.check(request)
        refuse_beyond_turn(request)
        if not is_open(request.path):
            client = _client(request.remote_addr, number)
            if seconds := self._rows.take(client, _rows_of(request)):
                raise refuse_for(seconds, "More rows than RATE_LIMIT_ROWS allows; send them later")
        return number

    def charge(self, request: Request, number: int | None, rows: int) -> None:
        """Charge the client of a request that was let in for as much as it had computed.

        Args:
            request: that was let in by its length.
            number: of its key.
            rows: that its answer took as much work as.
        """
        if (more := rows - _rows_of(request)) > 0:
            self._rows.charge(_client(request.remote_addr, number), more)

    def recognizes(self, environ: dict[str, Any]) -> tuple[bool, int | None]:
        """Tell whether a usual request is from a client that is let in, and the number of its key.

        False does not refuse it: `check` decides.
        """
        if not is_host(environ.get("HTTP_HOST", ""), self._hosts):
            return False, None
        if getattr(environ.get("gunicorn.socket"), "refused", 0):
            return False, None
        if not self._keys:
            return True, None
        key = key_of(environ.get("HTTP_X_API_KEY", ""), environ.get("HTTP_AUTHORIZATION", ""))
        number = self._keys.number_of(key)
        return number is not None and not self._keys.is_short(number), number

    def has_rows(self, environ: dict[str, Any], number: int | None) -> bool:
        """Take the rows of a `/predict` from what its client may send, if there are any left."""
        client = _client(environ.get("REMOTE_ADDR"), number)
        return not self._rows.take(client, _PREDICT_ROWS)


def _client(address: str | None, number: int | None) -> str:
    return address or "" if number is None else f"key {number}"


def _rows_of(request: Request) -> int:
    """Return the rows of a body, as its length suggests."""
    if request.path == "/predict":
        return _PREDICT_ROWS
    length = request.content_length
    if length is None:  # in chunks, of which nobody knows how many there will be
        length = _CHUNKED if "Transfer-Encoding" in request.headers else 0
    return 1 + length // _ROW_BYTES
