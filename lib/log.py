"""Structured logs on stderr, and in a file where one is named."""

from __future__ import annotations

import logging
import sys
from typing import TextIO, cast

import structlog

from lib.settings import LogLevel, SettingsError


class LogFile:
    """A log that may be full or gone without stopping what is logged; says what was lost."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost = 0

    def write(self, line: str) -> None:
        """Write a line, or count it as lost; the next that can be written is told how many."""
        told = self.lost
        try:
            if told:
                self._file.write(f'{{"lines": {told}, "event": "log lines lost"}}\n')
            self._file.write(line)
            self._file.flush()
        except (OSError, ValueError):  # full, broken pipe; closed
            self.lost += 1
        else:
            self.lost -= told

    def flush(self) -> None:
        """Nothing is kept back: `write` has flushed."""


def configure_logging(level: str = "INFO") -> None:
    """Send the logs to stderr, one JSON object a line, from `level` up (`"DEBUG"`, `"INFO"`, …).

    Raises SettingsError for an unknown level.
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
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", LogFile(sys.stderr))),
        cache_logger_on_first_use=False,
    )
