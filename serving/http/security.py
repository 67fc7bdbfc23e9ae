"""API keys, and headers that tell browsers what not to do."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Container, Sequence

import structlog
from flask import Request, Response
from pydantic import SecretStr
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Unauthorized

from lib.settings import Settings, SettingsError
from serving.http.rate_limits import TokenBuckets, refuse_for

log = structlog.get_logger()
KEY_HEADER = "X-API-Key"
KEY_LENGTH = 16  # characters below which a key can be guessed
_SHORTEST = 4  # characters below which it is refused
_GUESSES = (1.0, 30.0)  # wrong keys of one address: a second, and at once
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
# First parts of the paths that need no key.
OPEN = frozenset({"", "health", "docs", "openapi.json", "metrics", "static"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Of an answer in JSON.
JSON_HEADERS = [
    ("Content-Type", "application/json"),
    *HEADERS.items(),
    ("Content-Security-Policy", _POLICY),
    ("Cache-Control", "no-store"),
]
# Nothing inline, and nothing of another host.
_PAGE_POLICY = (
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
# Swagger UI sets styles of its own.
STYLED_POLICY = f"{_PAGE_POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


class Keys:
    """The accepted API keys; without any, every call is accepted.

    An address that has sent many wrong keys gets 429 for further ones, and for a right one that is
    so short that it may have been guessed.
    """

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        values = [key.get_secret_value() for key in keys]
        # Of equal length, so that the time of a comparison tells nothing about a key's.
        self._digests = [_digest(value.encode()) for value in values]
        self._is_short = [len(value) < KEY_LENGTH for value in values]
        self._guesses = TokenBuckets(*_GUESSES)

    def __bool__(self) -> bool:
        """Tell whether calls need a key."""
        return bool(self._digests)

    def check(self, request: Request) -> int | None:
        """Check the key of a call.

        Returns:
            The number of its key in API_KEYS, from 1; None for a call that needs none.

        Raises:
            Unauthorized: 401, the call has no accepted key.
            TooManyRequests: 429, its address has sent too many wrong ones.
        """
        if not self._digests or is_open(request.path):
            return None
        key = key_of(request.headers.get(KEY_HEADER, ""), request.headers.get("Authorization", ""))
        number, address = self.number_of(key), request.remote_addr or ""
        if number is not None and not (self.is_short(number) and self._is_guesser(address)):
            return number
        if key and (seconds := self._guesses.take(address, 1.0)):
            raise refuse_for(seconds, "This address has sent too many wrong keys; try again later")
        raise Unauthorized(
            f"A key of this API is needed, in the header {KEY_HEADER} or as a Bearer token",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "production-lstm"}),
        )

    def is_short(self, number: int) -> bool:
        """Tell whether a key may have been guessed."""
        return self._is_short[number - 1]

    def number_of(self, key: str) -> int | None:
        """Return the number of a key in API_KEYS, from 1; None where it is none of them."""
        digest = _digest(key.encode("utf-8", "surrogateescape"))
        # All of them are compared, whichever matches.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return matches.index(True) + 1 if any(matches) else None

    def _is_guesser(self, address: str) -> bool:
        return self._guesses.is_empty(address)


def key_of(header: str, authorization: str) -> str:
    """Return the key that a call brings, in KEY_HEADER or as a Bearer token."""
    if header:
        return header
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_host(host: str, hosts: Container[str] | None) -> bool:
    """Tell whether a Host header names this server; None takes any."""
    return hosts is None or not host or re.sub(r":\d*$", "", host.lower()) in hosts


def check_host(request: Request, hosts: Container[str]) -> None:
    """Raise BadRequest (400) for a call that addresses this server by another name.

    The page of another site could have its name point at this machine, and read what it answers.
    """
    if not is_host(request.headers.get("Host", ""), hosts):
        raise BadRequest(
            "This server has no API_KEYS and answers to localhost only; set them, or give "
            "--open-to-anyone, to call it by another name"
        )


def is_open(path: str) -> bool:
    """Tell whether a path needs no key."""
    return path.lstrip("/").split("/", 1)[0] in OPEN


def add_headers(response: Response) -> Response:
    """Add the security headers; a policy or a Cache-Control that a response has set stays."""
    headers = response.headers
    for name, value in HEADERS.items():
        headers.add(name, value)
    page = response.mimetype == "text/html"
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if page else _POLICY)
    headers.setdefault("Cache-Control", "no-store")
    return response


def check_bind(host: str, settings: Settings, *, anyone: bool) -> None:
    """Refuse to serve other machines without API keys.

    Args:
        host: address to bind.
        settings: of this installation.
        anyone: whether to serve them nevertheless.

    Raises:
        SettingsError: others can reach the address, and there are no keys.
    """
    if settings.api_keys or anyone or is_loopback(host):
        return
    raise SettingsError(
        f"API_KEYS: empty, and {host} can be reached by others. Set API_KEYS, bind 127.0.0.1, or "
        "give --open-to-anyone"
    )


def check_key_lengths(keys: Sequence[SecretStr]) -> None:
    """Refuse keys of a few characters, and log which ones can be guessed.

    Raises:
        SettingsError: a key is too short to be one.
    """
    for number, key in enumerate(keys, start=1):
        length = len(key.get_secret_value())
        if length < _SHORTEST:
            raise SettingsError(
                f"API_KEYS: key {number} has {length} characters; expected {_SHORTEST} at least, "
                f"and {KEY_LENGTH} or more to be safe (openssl rand -hex 24)"
            )
        if length < KEY_LENGTH:
            log.warning(
                "API_KEYS: a key can be guessed", key=number, characters=length, expected=KEY_LENGTH
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host == "localhost" or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
