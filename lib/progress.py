"""Carries the progress of long work from one process to another, through a small file.

A runner creates `progress.json` in its run folder; whoever works for that run, in the kernel of a
notebook, reports into it. Without the file nobody watches, and nothing is written.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.files import write_json

PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class Progress:
    """How far a piece of work has come.

    Attributes:
        unit: what is counted, such as "trials" or "batches".
        done: how many are finished.
        total: how many there will be at most.
        loss: the lowest validation loss so far, in window scales; None before the first.
        detail: more in words, such as "batch 120 of 150"; "" for nothing.
    """

    unit: str
    done: int
    total: int
    loss: float | None = None
    detail: str = ""


def open_progress(folder: Path) -> None:
    """Let work for a run folder report its progress."""
    write_json(folder / PROGRESS_FILE, {})


def close_progress(folder: Path) -> None:
    """Stop the reports about a run folder."""
    (folder / PROGRESS_FILE).unlink(missing_ok=True)


def report_progress(folder: Path, progress: Progress) -> None:
    """Write the progress of the work for a run folder, if a runner watches it."""
    if (folder / PROGRESS_FILE).is_file():
        write_json(folder / PROGRESS_FILE, asdict(progress))


def read_progress(folder: Path) -> Progress | None:
    """Return the last report about a run folder; None where there is none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Path(name)
    ...     open_progress(folder)
    ...     report_progress(folder, Progress("trials", 3, 15, loss=0.41))
    ...     read_progress(folder)
    Progress(unit='trials', done=3, total=15, loss=0.41, detail='')
    """
    try:
        return Progress(**json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # no file, or nothing reported yet
        return None
