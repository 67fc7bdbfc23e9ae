"""Errors as the logs and the clients may see them: neither passwords nor what somebody sent."""

from __future__ import annotations

import traceback
from pathlib import Path

_FRAMES = 12  # of each error, the innermost


def brief(error: BaseException) -> str:
    """Enough of an error to know it by; addresses of stores may hold passwords."""
    text = str(error).splitlines()[0] if str(error) else ""
    if "://" in text:
        text = text[: text.index("://")] + "://…"
    return f"{type(error).__name__}: {text}"[:300]


def frames(error: BaseException) -> list[str]:
    """Where an error and its causes came from, without their texts, which may quote values.

    The first error comes last: its type, then its calls from the outermost to the innermost.
    """
    told: list[str] = []
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        told.append(type(now).__name__)
        calls = list(traceback.walk_tb(now.__traceback__))[-_FRAMES:]
        for frame, line in calls:
            file = Path(frame.f_code.co_filename)
            told.append(f"{file.parent.name}/{file.name}:{line} {frame.f_code.co_name}")
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)
    return told
