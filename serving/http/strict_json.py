"""Strict JSON: UTF-8, no NaN, no key twice, not nested too deep. Anything else is refused (400)."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, NoReturn

import msgspec
from flask import Request
from werkzeug.exceptions import UnsupportedMediaType

from serving.http.problems import RequestError

DEPTH = 20


class StrictRequest(Request):
    """A request whose JSON is read strictly, also by flask-openapi3, which would ignore faults."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the decoded body. Raises RequestError (400) and UnsupportedMediaType (415)."""
        return decode_json(self.json_bytes())

    def json_bytes(self, *, keep: bool = True) -> bytes:
        """Return the body as sent; without `keep`, once only, so that its memory can go.

        Raises:
            UnsupportedMediaType: 415, for another Content-Type, or a body that is compressed.
        """
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise UnsupportedMediaType(
                f"expected a body that is not compressed, got Content-Encoding: {encoding[:60]}"
            )
        if not self.is_json:
            raise UnsupportedMediaType("expected Content-Type: application/json")
        return self.get_data(cache=keep)


def decode_json(body: bytes) -> Any:
    """Decode a body strictly.

    Args:
        body: as it was sent.

    Returns:
        Objects as dicts, in their order; whole numbers of any size as int.

    Raises:
        RequestError: 400, saying what is wrong with it.
    """
    try:
        value = _FAST.decode(body)
        # A colon for each key: so no key is there twice, and no text holds a colon.
        if count_keys(value) == body.count(b":"):
            return value
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # decoded again below, by what can say why
    return _decode_slowly(body)


def _decode_slowly(body: bytes) -> Any:
    """Decode with Python's own decoder, which meets every key and can word every refusal."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"expected UTF-8, byte {error.start} is not") from None
    if text.startswith("\ufeff"):
        raise RequestError(400, "expected JSON without a byte order mark")
    try:
        value = _SLOW.decode(text)
        count_keys(value)
        if "\\u" in text:  # half a character cannot be stored or sent back
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise RequestError(400, f"expected JSON: {error}") from None
    except RecursionError:
        raise RequestError(400, f"expected JSON nested at most {DEPTH} deep") from None
    except UnicodeEncodeError:
        raise RequestError(400, "expected whole characters, got a lone surrogate") from None
    except ValueError as error:  # an integer of thousands of digits
        raise RequestError(400, f"expected JSON: {str(error).split(';')[0]}") from None
    return value


def count_keys(value: Any) -> int:
    """Count the keys of all objects, level by level. Raises RecursionError below DEPTH levels."""
    level, count = [value], 0
    for _ in range(DEPTH):
        objects = [v for v in level if type(v) is dict]
        lists = [v for v in level if type(v) is list]
        count += sum(map(len, objects))
        inside = chain(chain.from_iterable(map(dict.values, objects)), chain.from_iterable(lists))
        level = [v for v in inside if type(v) in _CONTAINERS]
        if not level:
            return count
    raise RecursionError


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RequestError(400, f"the key {key!r} is there twice in one object")
            seen.add(key)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(400, f"{name} is not JSON; expected null where a number is missing")


_CONTAINERS = frozenset((dict, list))
_FAST = msgspec.json.Decoder()
_SLOW = json.JSONDecoder(object_pairs_hook=_refuse_twice, parse_constant=_refuse_constant)
