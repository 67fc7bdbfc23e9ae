"""Configures structured logs: one JSON object a line, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import TextIO, cast

import structlog

from lib.settings import LogLevel, SettingsError


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


def configure_logging(level: str = "INFO") -> None:
    """Send the logs to stderr, from `level` up.

    Args:
        level: `"DEBUG"`, `"INFO"`, `"WARNING"`, `"ERROR"` or `"CRITICAL"`, in any case.

    Raises:
        SettingsError: the level is unknown.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise SettingsError(f"LOG_LEVEL: got {level!r}, expected one of {LogLevel.__args__}")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # One write a line: processes that share a stderr would mix theirs.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", LossyStream(sys.stderr))),
        cache_logger_on_first_use=False,
    )
