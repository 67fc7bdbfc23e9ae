"""Run the worker for explanations beside the server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import structlog

from lib.settings import ROOT

_PAUSES = (1.0, 60.0)  # seconds before a worker that ended is restarted, at first and at most
log = structlog.get_logger()


class SupervisedProcess:
    """A process that is restarted whenever it ends: the worker for explanations."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """Take the command, by default that of a worker which stops with this process."""
        self.command = command or [
            sys.executable,
            "-m",
            "serving.worker",
            f"--parent={os.getpid()}",
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Generator[SupervisedProcess]:
        """Run the process until the end of the block."""
        self.process = self._start()
        supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        supervisor.start()
        owner = os.getpid()
        try:
            yield self
        finally:
            if os.getpid() == owner:  # a forked web process leaves by here too
                self._stop.set()
                supervisor.join(5)
                self._end()

    def _supervise(self) -> None:
        pause = _PAUSES[0]
        while self.process is not None:
            started = time.monotonic()
            while self.process.poll() is None:
                if self._stop.wait(0.5):
                    return
            if time.monotonic() - started > 60:
                pause = _PAUSES[0]
            # gunicorn collects the status of every child, and 0 is what is left of it here.
            log.error("worker ended", exit_code=self.process.returncode or None, restart_in=pause)
            if self._stop.wait(pause):
                return
            pause = min(2 * pause, _PAUSES[1])
            self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A process group of its own: Ctrl-C reaches the server alone, which then stops the worker
        # by SIGTERM. Ctrl-C would end the worker in its imports, and it would be restarted.
        return subprocess.Popen(self.command, cwd=ROOT, process_group=0)

    def _end(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
