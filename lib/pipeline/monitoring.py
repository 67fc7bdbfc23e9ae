"""Runs the monitoring notebook on a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from lib.pipeline import stages
from lib.pipeline.notebooks import MONITORING_STAGE, find_notebooks
from lib.pipeline.parameters import (
    RESERVED,
    ParameterError,
    declared_parameters,
    resolve_parameters,
)
from lib.settings import NOTEBOOKS, Settings, get_settings

log = structlog.get_logger()
CONTRACT, REGISTERED = "model/contract.json", "mlflow.json"


def run_monitoring(
    overrides: Mapping[str, str] | None = None,
    *,
    run_dir: Path | None = None,
    notebooks: Path = NOTEBOOKS,
    settings: Settings | None = None,
) -> Path:
    """Run the monitoring notebook on a finished run; return its HTML page.

    Args:
        overrides: text of its parameters, by name.
        run_dir: the run folder; None takes the one under `var/runs` that was trained last. Runs
            that registered their model go first: the model of a backtest is never served.
        notebooks: folder of the notebooks.
        settings: where `var/` is; None reads the environment.

    Raises:
        ParameterError: a parameter is wrong, or there is no run with a model.
        StageError: a cell failed.
    """
    from lib.pipeline.execution import run_notebook  # a second to import

    settings = settings or get_settings()
    [(stage, notebook)] = list(find_notebooks(notebooks, MONITORING_STAGE).items())[:1]
    declared = {stage: declared_parameters(notebook)}
    values = resolve_parameters(declared, {}, overrides or {})[stage]
    run = run_dir.resolve() if run_dir else _last_trained(settings)
    if not (run / CONTRACT).is_file():
        raise ParameterError(f"no model in {run}: expected the folder of a finished `make train`")
    with stages.locked(run):
        page = run_notebook(run, notebook, values | {RESERVED: str(run)}, settings)
    log.info("monitoring finished", page=str(page), results=str(run / "monitoring.json"))
    return page


def _last_trained(settings: Settings) -> Path:
    """Return the run folder that was trained last, of those with a registered model if any."""
    contracts = list((settings.var_dir / "runs").glob(f"*/{CONTRACT}"))
    if not contracts:
        raise ParameterError(
            f"no run with a model in {settings.var_dir / 'runs'}: run `make train` first, or name "
            "one with RUN_DIR"
        )
    runs = {path.parent.parent: path.stat().st_mtime for path in contracts}
    return max(runs, key=lambda run: ((run / REGISTERED).is_file(), runs[run]))
