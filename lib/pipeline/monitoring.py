"""Runs the notebook of monitoring on a run that is there, and any notebook in a run folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from lib.pipeline import stages
from lib.pipeline.parameters import (
    RESERVED,
    ParameterError,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.stages import StageError
from lib.settings import Settings

log = structlog.get_logger()
CONTRACT, REGISTERED = "model/contract.json", "mlflow.json"
_MONITORING = "05_*.ipynb"


def run_monitoring(
    notebooks: Path,
    settings: Settings,
    overrides: Mapping[str, str] | None = None,
    *,
    run_dir: Path | None = None,
) -> Path:
    """Run the notebook of monitoring on a finished run; return the page it made.

    Args:
        notebooks: folder of the notebooks.
        settings: where `var/` is.
        overrides: name → text of its parameters.
        run_dir: the run folder; None takes the one under `var/runs` that was trained last, of
            those that registered their model if there are any: a backtest's is served to nobody.

    Raises:
        ParameterError: a parameter is wrong, or there is no run with a model.
        StageError: a cell failed.
    """
    notebook = next(iter(sorted(notebooks.resolve().glob(_MONITORING))), None)
    if notebook is None:
        raise ParameterError(f"no notebook {_MONITORING} in {notebooks}")
    stage = notebook.stem
    known = {stage: declared_parameters(notebook)}
    values = resolve_parameters(known, {}, overrides or {})[stage]
    run = run_dir.resolve() if run_dir else _last_trained(settings)
    if not (run / CONTRACT).is_file():
        raise ParameterError(f"no model in {run}: expected the folder of a finished `make train`")
    with stages.locked(run):
        page = execute_in(run, notebook, values | {RESERVED: str(run)}, settings)
    log.info("monitoring finished", page=str(page), results=str(run / "monitoring.json"))
    return page


def _last_trained(settings: Settings) -> Path:
    found = (settings.var_dir / "runs").glob(f"*/{CONTRACT}")
    runs = [(path.parent.parent, path.stat().st_mtime) for path in found]
    if not runs:
        raise ParameterError(
            f"no run with a model in {settings.var_dir / 'runs'}: run `make train` first, or say "
            "which with RUN_DIR"
        )
    return max(runs, key=lambda run: ((run[0] / REGISTERED).is_file(), run[1]))[0]


def execute_in(run: Path, notebook: Path, inject: Mapping[str, Any], settings: Settings) -> Path:
    """Run a notebook in a run folder and draw its page; return the page. Raises StageError."""
    from lib.pipeline import execution  # papermill, nbconvert: a second to import

    stage = notebook.stem
    executed, page = run / "notebooks" / notebook.name, run / "html" / f"{stage}.html"
    # One thread each: two in one process slow each other down by orders of magnitude.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**threads, "VAR_DIR": str(settings.var_dir)}
    progress = sys.stderr.isatty()
    try:
        execution.execute_notebook(
            notebook, executed, inject, run=run, environment=environment, progress=progress
        )
    except StageError as error:
        raise StageError(
            f"stage {stage}: {error}\nThe partial notebook is {executed}\n"
            "Once the cause is gone, the same command resumes at this stage."
        ) from None
    execution.to_html(executed, page)
    return page


def describe_monitoring(notebooks: Path) -> str:
    """The parameters of the notebook, a line each."""
    lines = ["parameters:"]
    for path in sorted(notebooks.glob(_MONITORING)):
        lines += [f"  {p}" for name, p in declared_parameters(path).items() if name != RESERVED]
    return "\n".join(lines)
