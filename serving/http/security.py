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

log = structlog.get_logger()
KEY_HEADER = "X-API-Key"
KEY_LENGTH = 16  # characters below which a key can be guessed
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
# Nothing inline, and nothing of another host.
_PAGE_POLICY = (
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
# Swagger UI sets styles of its own.
STYLED_POLICY = f"{_PAGE_POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


class Keys:
    """The accepted API keys; without any, every call is accepted."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        # Of equal length, so that the time of a comparison tells nothing about a key's.
        self._digests = [_digest(key.get_secret_value().encode()) for key in keys]

    def check(self, request: Request) -> None:
        """Raise Unauthorized (401) for a call that needs a key and has no accepted one."""
        if not self._digests or is_open(request.path):
            return
        key = request.headers.get(KEY_HEADER, "")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not key and scheme.lower() == "bearer":
            key = token.strip()
        digest = _digest(key.encode("utf-8", "surrogateescape"))
        # All of them are compared, whichever matches.
        if not sum([hmac.compare_digest(digest, known) for known in self._digests]):
            raise Unauthorized(
                f"A key of this API is needed, in the header {KEY_HEADER} or as a Bearer token",
                www_authenticate=WWWAuthenticate("bearer", {"realm": "production-lstm"}),
            )


def check_host(request: Request, hosts: Container[str]) -> None:
    """Raise BadRequest (400) for a call that addresses this server by another name.

    The page of another site could have its name point at this machine, and read what it answers.
    """
    host = re.sub(r":\d*$", "", request.headers.get("Host", "").lower())
    if host and host not in hosts:
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


def warn_of_short_keys(keys: Sequence[SecretStr]) -> None:
    """Log which keys are so short that they can be guessed."""
    for number, key in enumerate(keys, start=1):
        if (length := len(key.get_secret_value())) < KEY_LENGTH:
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
