"""Runs a notebook that follows the training, monitoring or planning, on a finished run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import structlog

from lib.files import write_json
from lib.pipeline import stages
from lib.pipeline.display import watch
from lib.pipeline.notebooks import MONITORING_STAGE, PLANNING_STAGE, find_notebooks
from lib.pipeline.parameters import (
    RESERVED,
    ParameterError,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.runs import RUN_FOLDER_TAG
from lib.settings import NOTEBOOKS, Settings, get_settings

log = structlog.get_logger()
CONTRACT, REGISTERED = "model/contract.json", "mlflow.json"
RUN_FILES = ("series.parquet", "forecasts.parquet")  # that monitoring reads


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
        run_dir: as for `run_on_finished`.
        notebooks: folder of the notebooks.
        settings: where `var/` is; None reads the environment.

    Raises:
        ParameterError: a parameter is wrong, or there is no run with a model.
        StageError: a cell failed.
    """
    return run_on_finished(MONITORING_STAGE, overrides, run_dir, notebooks, settings)


def run_planning(
    overrides: Mapping[str, str] | None = None,
    *,
    run_dir: Path | None = None,
    notebooks: Path = NOTEBOOKS,
    settings: Settings | None = None,
) -> Path:
    """Run the planning notebook on a finished run; return its HTML page.

    Arguments and errors are those of `run_monitoring`.
    """
    return run_on_finished(PLANNING_STAGE, overrides, run_dir, notebooks, settings)


def run_on_finished(
    pattern: str,
    overrides: Mapping[str, str] | None,
    run_dir: Path | None,
    notebooks: Path,
    settings: Settings | None,
) -> Path:
    """Run a notebook on a finished run; return its HTML page.

    Args:
        pattern: of the notebook's name.
        overrides: text of its parameters, by name.
        run_dir: the run folder; None takes that of the production model, wherever it ran. Without
            a production model it is the one under `var/runs` that was trained last; runs that
            registered their model go first.
        notebooks: folder of the notebooks.
        settings: where `var/` is; None reads the environment.

    Raises:
        ParameterError: a parameter is wrong, or there is no run with a model.
        StageError: a cell failed.
    """
    from lib.pipeline.execution import run_notebook  # a second to import

    settings = settings or get_settings()
    [(stage, notebook)] = list(find_notebooks(notebooks, pattern).items())[:1]
    declared = {stage: declared_parameters(notebook)}
    values = resolve_parameters(declared, {}, overrides or {})[stage]
    run = run_dir.resolve() if run_dir else _production_run(settings) or _last_trained(settings)
    if not (run / CONTRACT).is_file():
        raise ParameterError(f"no model in {run}: expected the folder of a finished `make train`")
    with stages.locked(run), watch(run, [stage], settings) as on_cell:
        page = run_notebook(run, notebook, values | {RESERVED: str(run)}, settings, on_cell)
    results = run / f"{stage.partition('_')[2]}.json"
    log.info("notebook finished", stage=stage, page=str(page), results=str(results))
    return page


def _production_run(settings: Settings) -> Path | None:
    """Return the run folder of the production model; None without one.

    Where the model was trained on another machine, or its folder is gone, that is a folder with
    the registered model, and with series and backtest as far as its run has logged them.
    """
    database = settings.mlflow_tracking_uri.removeprefix("sqlite:///")
    if database != settings.mlflow_tracking_uri and not Path(database).is_file():
        return None  # nothing was registered; do not create the store
    from mlflow.exceptions import MlflowException  # two seconds to import

    from lib.registry import PRODUCTION, Registry, RegistryError

    registry = Registry(settings)
    try:
        version = registry.version_of(PRODUCTION)
        if version is None:
            return None
        run_id, tags = registry.training_run(version)
        if (run := _local_run(settings, run_id, tags.get(RUN_FOLDER_TAG, ""))) is not None:
            return run
        run = settings.var_dir / "runs" / f"production-{version}"
        if not (run / CONTRACT).is_file():
            registry.fetch(version, run / "model")
            registry.fetch_files(version, RUN_FILES, run)
            write_json(run / REGISTERED, {"version": version, "run_id": run_id})
            log.info("production model fetched from the registry", version=version, run=str(run))
        return run.resolve()
    except (MlflowException, RegistryError) as error:
        log.warning("registry does not answer: taking the run trained last", error=str(error))
        return None


def _local_run(settings: Settings, run_id: str, folder: str) -> Path | None:
    """Return the run folder on this machine that a training was logged from; None without one.

    Args:
        settings: where `var/` is.
        run_id: of MLflow.
        folder: where it was when it was logged; "" where that is not known.
    """
    candidates = sorted((settings.var_dir / "runs").glob("*"))
    if folder:
        candidates.insert(0, Path(folder))
    for run in candidates:
        if (run / REGISTERED).is_file() and (run / CONTRACT).is_file():
            outcome = json.loads((run / REGISTERED).read_text(encoding="utf-8"))
            if outcome.get("run_id") == run_id:
                return run.resolve()
    return None


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
