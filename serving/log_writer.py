"""Write log lines in the background, so that no request waits for whoever reads them."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from typing import Protocol, TextIO, cast

import structlog

_LINES = 20_000  # that may wait to be written
_GATHER = 0.02  # seconds to wait for others after the first


class Stream(Protocol):
    """What lines are written to."""

    def write(self, line: str, /) -> object:
        """Write a line."""
        ...


class LogWriter:
    """Collects lines, and writes those that have come together. Make it after a fork."""

    def __init__(self, stream: Stream, *, lines: int = _LINES) -> None:
        """Take the stream; nothing is started before the first line."""
        self._stream = stream
        self._most = lines
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._pending = threading.Event()
        self._writing = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Have a line written soon; it is counted as lost where too many wait."""
        if len(self._waiting) >= self._most:
            self._lost += 1
            return
        self._waiting.append(line)
        if not self._pending.is_set():
            self._pending.set()
            self._start()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            lost, self._lost = self._lost, 0
            lines = [f'{{"lines": {lost}, "event": "log lines lost"}}\n'] if lost else []
            while self._waiting:
                lines.append(self._waiting.popleft())
            if lines:
                self._stream.write("".join(lines))

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            self._pending.wait()
            time.sleep(_GATHER)
            self._pending.clear()
            self.flush()


def log_in_background(stream: Stream) -> LogWriter:
    """Write log lines from now on to a stream in the background."""
    writer = LogWriter(stream)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(cast("TextIO", writer)))
    return writer
