"""Answer refusals and failures with problem documents (RFC 9457), never with a stack trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, has_request_context
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from lib.log import list_frames

MEDIA_TYPE = "application/problem+json"
_MAX_ERRORS = 20  # of one answer
_TEXT = 300  # characters of a message
# In the place of messages that name classes of this code
_MESSAGES = dict.fromkeys(
    ("model_type", "model_attributes_type", "dataclass_type", "dict_type"),
    'expected an object, {"field": …}, as /docs shows it',
)
_TYPE = re.compile(r"int|float|str|bool|constrained-\w+|(?:list|dict|literal)\[.*\]")
log = structlog.get_logger()


class RequestError(Exception):
    """A request that is refused.

    Attributes:
        status: of the answer.
        detail: for people.
        errors: pairs of a field's path and what is wrong with it.
    """

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


def invalid(field: str, detail: str) -> RequestError:
    """Make the refusal (422) of one field, such as `sequence[12].lag_1`."""
    return RequestError(422, f"{field}: {detail}" if field else detail, [(field, detail)])


def problem(status: int, title: str = "", detail: str = "", **fields: Any) -> Response:
    """Make a problem document; `title` defaults to the phrase of the status."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if has_request_context() and "trace_id" in g:
        document["trace_id"] = g.trace_id
    document |= fields
    return Response(json.dumps(document), status=status, mimetype=MEDIA_TYPE)


def path_of(location: Iterable[str | int]) -> str:
    """Write a location as the path of a field.

    Example:
        >>> path_of(("sequence", 12, "lag_1"))
        'sequence[12].lag_1'
    """
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_short(part, 60)}" if text else _short(part, 60)
    return text


def from_validation(error: ValidationError) -> Response:
    """Make the problem document of a pydantic error."""
    return _refusal(refusal_of(error))


def refusal_of(error: ValidationError) -> RequestError:
    """Make the refusal of a pydantic error."""
    texts: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        text = _MESSAGES.get(item["type"]) or item["msg"].removeprefix("Value error, ")
        texts.setdefault(path_of(_without_types(item["loc"])), []).append(text)
    errors = [(field, "; or: ".join(dict.fromkeys(found))) for field, found in texts.items()]
    return RequestError(422, _summary(errors), errors)


def _without_types(location: Sequence[str | int]) -> list[str | int]:
    """Return a location without the types that pydantic puts in where a field may be of several.

    The first two parts are names: of a field, and perhaps one that the client has chosen.
    """
    return [*location[:2], *(part for part in location[2:] if not _TYPE.fullmatch(str(part)))]


def register(app: Flask) -> None:
    """Make every error of an application a problem document."""
    app.register_error_handler(RequestError, _refusal)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _summary(errors: Sequence[tuple[str, str]]) -> str:
    field, text = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return _short(f"{field}: {text}" if field else text) + more


def _refusal(error: RequestError) -> Response:
    errors = [
        {"field": field, "detail": _short(detail)} for field, detail in error.errors[:_MAX_ERRORS]
    ]
    fields: dict[str, Any] = {"errors": errors} if errors else {}
    return problem(error.status, detail=_short(error.detail), **fields)


def _http(error: HTTPException) -> Response:
    if error.response is not None:  # a redirect, or an answer made already
        return error.response if isinstance(error.response, Response) else problem(500)
    code = error.code or 500
    if code < 400:
        return Response(status=code, headers=error.get_headers())
    detail = error.description or ""
    if isinstance(error, RequestEntityTooLarge):
        detail = "The body is larger than this call takes"
    response = problem(code, detail=_short(detail))
    for name, value in error.get_headers():  # Allow, Retry-After, WWW-Authenticate
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    trace = g.get("trace_id") if has_request_context() else None
    # Not the error's text, nor a traceback, which ends with it: either may quote the body.
    log.error(
        "request failed", trace_id=trace, error=type(error).__name__, where=list_frames(error)
    )
    return problem(500, detail="Something went wrong here; the log has it under this trace_id")


def _short(text: str, length: int = _TEXT) -> str:
    # What was sent may be quoted in it, lone surrogates included.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= length else text[: length - 1] + "…"
