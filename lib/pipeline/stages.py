"""What a finished stage leaves in a run folder, and whether it may be skipped the next time.

A stage's record, `stages/<stage>.json`, holds the fingerprint of all that went into it and the
hashes of the files it wrote. Files count as written by a stage when they appear or change while
it runs. The record is written last, so a stage that was cut off has none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from lib import locks
from lib.files import file_hash, text_hash, write_json
from lib.pipeline.parameters import read_notebook

log = structlog.get_logger()
# What the runner writes itself, and what is no result.
_NOT_OUTPUTS = {"stages", "notebooks", "html", "logs", "parameters.json", "metrics.json", ".lock"}
_NOT_SUFFIXES = {".log", ".tmp"}


class StageError(RuntimeError):
    """A cell failed or the kernel died; the message shows where, and how to go on."""


@dataclass(frozen=True)
class StageRecord:
    """A finished stage: `fingerprint` of what went in, `outputs` as path in the run → sha256."""

    fingerprint: str
    outputs: dict[str, str]
    seconds: float

    @classmethod
    def read(cls, run: Path, stage: str) -> StageRecord | None:
        """Return the record of `stage` in the folder `run`, None without a readable one."""
        try:
            return cls(**json.loads(_record_path(run, stage).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, run: Path, stage: str) -> None:
        """Keep the record in the folder `run`."""
        write_json(_record_path(run, stage), asdict(self))

    def holds(self, run: Path) -> bool:
        """Tell whether every output is still there, byte for byte."""
        return all(
            (run / name).is_file() and file_hash(run / name) == digest
            for name, digest in self.outputs.items()
        )


def forget(run: Path, stage: str) -> None:
    """Remove what an outdated run of `stage` wrote, and its record.

    A stage that was cut off has no record: what it left, such as a checkpoint, stays for it.
    """
    if outdated := StageRecord.read(run, stage):
        for name in outdated.outputs:
            path = (run / name).resolve()
            if path.is_relative_to(run):
                path.unlink(missing_ok=True)
    _record_path(run, stage).unlink(missing_ok=True)


def fingerprint(
    notebook: Path, values: Mapping[str, Any], code: str, inputs: Mapping[str, str]
) -> str:
    """Return the sha256 hex of a stage: code cells, parameters, library and input files.

    Args:
        notebook: the notebook; its prose does not count.
        values: its parameters, with the content hash of DATA in the place of the path.
        code: `code_hash` of the library.
        inputs: files that earlier stages wrote, path in the run folder → sha256.
    """
    cells = [cell["source"] for cell in read_notebook(notebook)]
    return text_hash([cells, dict(values), code, dict(inputs)])


def code_hash(package: Path) -> str:
    """Return the sha256 hex of the Python sources of the folder `package`."""
    return text_hash({str(p.relative_to(package)): file_hash(p) for p in package.rglob("*.py")})


def signatures(run: Path) -> dict[str, tuple[int, int, int]]:
    """Return path in the run → (inode, size, mtime in ns) of every file that may be an output."""
    found = {}
    for folder, folders, files in os.walk(run):
        here = Path(folder)
        if here == run:
            folders[:] = [name for name in folders if name not in _NOT_OUTPUTS]
            files = [name for name in files if name not in _NOT_OUTPUTS]
        for name in files:
            path = here / name
            if path.suffix not in _NOT_SUFFIXES and path.is_file():
                stat = path.stat()
                found[str(path.relative_to(run))] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def written_since(run: Path, before: Mapping[str, tuple[int, int, int]]) -> dict[str, str]:
    """Return path → sha256 of the files that are new or rewritten since `before`."""
    now = signatures(run)
    return {n: file_hash(run / n) for n in sorted(now) if before.get(n) != now[n]}


@contextmanager
def locked(run: Path) -> Generator[None]:
    """Hold the run folder for this process; wait, and log it, while another process does.

    The lock ends with its process, so a killed run leaves nothing locked.
    """
    with locks.locked(run / ".lock", waiting="waiting for the same run, started elsewhere"):
        yield


def log_to_mlflow(run: Path, tracking_uri: str) -> None:
    """Add the notebooks, pages, parameters and metrics to the run that a stage left an id of."""
    if not (run / "mlflow.json").is_file():
        return
    run_id = json.loads((run / "mlflow.json").read_text(encoding="utf-8")).get("run_id")
    pages = sorted([*(run / "notebooks").glob("0*.ipynb"), *(run / "html").glob("0*.html")])
    files = [*pages, run / "parameters.json", run / "metrics.json"]
    state = {
        "run_id": run_id,
        "files": {str(f.relative_to(run)): file_hash(f) for f in files},
    }
    logged = run / "stages" / "mlflow.logged"
    if not run_id or (logged.is_file() and json.loads(logged.read_text("utf-8")) == state):
        return
    from mlflow import MlflowClient  # two seconds to import

    client = MlflowClient(tracking_uri=tracking_uri)
    for file in files:
        folder = file.relative_to(run).parent
        client.log_artifact(run_id, str(file), str(Path("pipeline") / folder))
    write_json(logged, state)
    log.info("notebooks logged to MLflow", run_id=run_id, files=len(files))


def _record_path(run: Path, stage: str) -> Path:
    return run / "stages" / f"{stage}.json"
