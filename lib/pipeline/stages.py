"""Records finished stages in a run folder, and decides whether one may be skipped.

A stage's record, `stages/<stage>.json`, holds the fingerprint of all that went into it and the
hashes of the files it wrote. Files count as written by a stage when they appear or change while
it runs. The record is written last, so a stage that was cut off has none.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from lib import locks
from lib.files import file_hash, text_hash, write_json
from lib.pipeline.dependencies import used_code_hash
from lib.pipeline.notebooks import read_notebook
from lib.progress import PROGRESS_FILE

log = structlog.get_logger()
# What the runner writes itself, and what is no result.
_NOT_OUTPUTS = {
    *("stages", "notebooks", "html", "logs", "parameters.json", "metrics.json", ".lock"),
    PROGRESS_FILE,
}
_NOT_SUFFIXES = {".log", ".tmp"}


class StageError(RuntimeError):
    """A cell failed or the kernel died; the message shows where, and how to go on."""


@dataclass(frozen=True)
class StageRecord:
    """A finished stage.

    Attributes:
        fingerprint: hash of all that went into it.
        outputs: sha256 of the files it wrote, by path in the run folder.
        seconds: how long it took.
    """

    fingerprint: str
    outputs: dict[str, str]
    seconds: float

    @classmethod
    def read(cls, run: Path, stage: str) -> StageRecord | None:
        """Return the record of `stage` in the folder `run`; None without a readable one."""
        try:
            return cls(**json.loads(_record_path(run, stage).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, run: Path, stage: str) -> None:
        """Write the record into the folder `run`."""
        write_json(_record_path(run, stage), asdict(self))

    def is_intact(self, run: Path) -> bool:
        """Return whether every output still exists, byte for byte."""
        return all(
            (run / name).is_file() and file_hash(run / name) == digest
            for name, digest in self.outputs.items()
        )


def remove_outputs(run: Path, stage: str) -> None:
    """Remove the files that an outdated run of `stage` wrote, and its record.

    A stage that was cut off has no record: its files, such as a checkpoint, stay for the next try.
    """
    if outdated := StageRecord.read(run, stage):
        for name in outdated.outputs:
            path = (run / name).resolve()
            if path.is_relative_to(run):
                path.unlink(missing_ok=True)
    _record_path(run, stage).unlink(missing_ok=True)


def fingerprint(
    notebook: Path, values: Mapping[str, Any], inputs: Mapping[str, str], package: Path
) -> str:
    """Return the sha256 hex of a stage: code cells, parameters, library and input files.

    Args:
        notebook: the notebook; its prose does not count.
        values: its parameters, with the content hash of DATA in the place of the path.
        inputs: sha256 of the files that earlier stages wrote, by path in the run folder.
        package: folder of the library; only the modules that the notebook uses count.
    """
    cells = [cell["source"] for cell in read_notebook(notebook)]
    return text_hash([cells, dict(values), used_code_hash(cells, package), dict(inputs)])


def signatures(run: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and mtime (ns) of every file that may be an output, by path in the run."""
    stats = {}
    for path in run.rglob("*"):
        name = path.relative_to(run)
        if name.parts[0] in _NOT_OUTPUTS or path.suffix in _NOT_SUFFIXES or not path.is_file():
            continue
        stat = path.stat()
        stats[str(name)] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return stats


def written_since(run: Path, before: Mapping[str, tuple[int, int, int]]) -> dict[str, str]:
    """Return the sha256 of the files that are new or rewritten since `before`, by path."""
    now = signatures(run)
    return {n: file_hash(run / n) for n in sorted(now) if before.get(n) != now[n]}


@contextmanager
def locked(run: Path) -> Generator[None]:
    """Hold the run folder for this process; wait, and log it, while another process does.

    The lock ends with its process, so a killed run leaves nothing locked.
    """
    with locks.locked(run / ".lock", waiting="waiting for the same run, started elsewhere"):
        yield


def _record_path(run: Path, stage: str) -> Path:
    return run / "stages" / f"{stage}.json"
