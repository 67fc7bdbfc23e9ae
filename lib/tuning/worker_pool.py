"""The worker processes of one search."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from lib.settings import ROOT
from lib.tuning.search_space import Job

LOG_LINES = 12  # of a failed worker that are shown


class WorkerPool:
    """Worker processes in numbered slots; the number seeds the draws of a worker.

    A context manager: on leaving it, the workers are stopped.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        """Start no worker yet.

        Args:
            job: of the search.
            folder: for job and logs; readable by this user alone, as the job may hold a password.
        """
        self.folder = folder
        self.running: dict[int, subprocess.Popen] = {}
        job.write(folder / "job.json")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pids(self) -> set[int]:
        """Return the process ids of the workers."""
        return {process.pid for process in self.running.values()}

    def scale_to(self, count: int) -> None:
        """Start workers until `count` are running; more than that are left to end by themselves."""
        for slot in range(count):
            if slot not in self.running and len(self.running) < count:
                self.running[slot] = self._start(slot)

    def collect_failures(self) -> list[str]:
        """Free the slots of workers that ended; return the last lines of those that failed."""
        ended = {s: p for s, p in self.running.items() if p.poll() is not None}
        self.running = {s: p for s, p in self.running.items() if s not in ended}
        return [self._last_lines(s, p.returncode) for s, p in ended.items() if p.returncode]

    def stop(self) -> None:
        """Terminate the workers and wait for them."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()
        self.running = {}

    def _start(self, slot: int) -> subprocess.Popen:
        command = [sys.executable, "-m", "lib.tuning.worker", str(self.folder / "job.json")]
        command += ["--worker", str(slot), "--parent", str(os.getpid())]
        with self._log(slot).open("w") as out:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Ctrl-C is for the parent: Optuna would fail an interrupted trial for good
                start_new_session=True,
            )

    def _log(self, slot: int) -> Path:
        return self.folder / f"worker-{slot}.log"

    def _last_lines(self, slot: int, code: int) -> str:
        lines = self._log(slot).read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"worker {slot} ended with {code}", *lines])
