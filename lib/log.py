"""Configures structured logs on stderr: a JSON object a line, or readable lines on a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from lib.settings import LogFormat, LogLevel, SettingsError

_FRAMES = 12  # of each error, the innermost
_LONGEST = 100  # characters of a value in a readable line, below a warning


class LossyStream:
    """Writes lines to a stream that may be full or closed, and counts the lines that are lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def write(self, line: str) -> None:
        """Write a line, or count it as lost; report lost lines before the next that is written."""
        lost = self.lost
        try:
            if lost:
                self._stream.write(f'{{"lines": {lost}, "event": "log lines lost"}}\n')
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):  # full, broken pipe; closed
            self.lost += 1
        else:
            self.lost -= lost

    def flush(self) -> None:
        """Do nothing: `write` has flushed."""


class _CurrentStderr:
    """Writes to what `sys.stderr` is at that moment: a live display puts lines above itself."""

    def write(self, line: str) -> None:
        sys.stderr.write(line)

    def flush(self) -> None:
        sys.stderr.flush()


def is_for_people(log_format: LogFormat) -> bool:
    """Tell whether readable lines are wanted: as `log_format` says, "auto" on a terminal only."""
    return log_format == "text" or (log_format == "auto" and sys.stderr.isatty())


def configure_logging(level: str = "INFO", log_format: LogFormat = "json") -> None:
    """Send the logs to stderr, from `level` up.

    Args:
        level: `"DEBUG"`, `"INFO"`, `"WARNING"`, `"ERROR"` or `"CRITICAL"`, in any case.
        log_format: `"json"` for a JSON object a line, `"text"` for readable lines, `"auto"` for
            readable lines on a terminal only.

    Raises:
        SettingsError: the level is unknown.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise SettingsError(f"LOG_LEVEL: got {level!r}, expected one of {LogLevel.__args__}")
    for_people = is_for_people(log_format)
    stream = cast("TextIO", _CurrentStderr()) if for_people else sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _render_line if for_people else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # One write a line: processes that share a stderr would mix theirs.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", LossyStream(stream))),
        cache_logger_on_first_use=False,
    )


def _render_line(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> str:
    """Return an entry as a readable line: local time, level from warnings up, event, values."""
    entry = {name: value for name, value in entry.items() if value is not None}
    if entry["event"] == "request":
        entry = _shorten_request(entry)
    clock = datetime.fromisoformat(entry.pop("timestamp")).astimezone().strftime("%H:%M:%S")
    level, event, trace = (entry.pop(name, "") for name in ("level", "event", "exception"))
    loud = f"{level}: " if level in ("warning", "error", "critical") else ""
    values = _render_values(entry, None if loud or trace else _LONGEST)
    line = f"{clock}  {loud}{event}" + (f"  ({values})" if values else "")
    return f"{line}\n{trace}" if trace else line


def _shorten_request(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request of the server as its event alone; drop those of the page's own files."""
    method, path, status = (entry.get(name, "") for name in ("method", "path", "status"))
    if str(path).startswith("/static/") and status == 200:
        raise structlog.DropEvent
    event = f"{method} {path}: {status} in {entry.get('ms', 0):.3g} ms"
    kept = ("timestamp", "level", "version", "trace_id")
    return {name: entry[name] for name in kept if name in entry} | {"event": event}


def _render_values(values: Mapping[str, Any], longest: int | None) -> str:
    shown = {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for name, value in values.items()
    }
    if longest is not None:  # a summary follows, or a file has it whole
        shown = {n: v if len(v) <= longest else f"{v[: longest - 1]}…" for n, v in shown.items()}
    return "; ".join(f"{name}: {value}" for name, value in shown.items())


def summarize_error(error: BaseException) -> str:
    """Return the type and the first line of an error, without addresses, which may hold passwords.

    Example:
        >>> summarize_error(OSError("http://me:secret@registry:5000 refused"))
        'OSError: http://…'
    """
    text = str(error).splitlines()[0] if str(error) else ""
    if "://" in text:
        text = text[: text.index("://")] + "://…"
    return f"{type(error).__name__}: {text}"[:300]


def list_frames(error: BaseException) -> list[str]:
    """Return where an error and its causes came from, without their texts, which may quote values.

    Returns:
        For each error, the first one last: its type, then its calls from the outermost to the
        innermost, such as `registry/registry.py:88 fetch`.
    """
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines.append(type(current).__name__)
        for frame, number in list(traceback.walk_tb(current.__traceback__))[-_FRAMES:]:
            file = Path(frame.f_code.co_filename)
            lines.append(f"{file.parent.name}/{file.name}:{number} {frame.f_code.co_name}")
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return lines
