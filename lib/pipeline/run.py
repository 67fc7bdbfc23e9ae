"""Runs the training notebooks in order, and skips the stages that are done and unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from lib.files import file_hash, text_hash, to_json, write_json
from lib.pipeline import stages
from lib.pipeline.data_check import check_data
from lib.pipeline.display import OnCell, watch
from lib.pipeline.notebooks import TRAINING_STAGES, find_notebooks
from lib.pipeline.parameters import (
    RESERVED,
    Parameter,
    ParameterError,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.profiles import load_profile
from lib.pipeline.stages import StageRecord
from lib.settings import NOTEBOOKS, PACKAGE, ROOT, Settings, get_settings

log = structlog.get_logger()
FILES = ("DATA", "FUTURE")  # parameters that are paths of the user's files


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, and the stages that ran and those that were skipped."""

    folder: Path
    ran: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """What a run is going to do.

    Attributes:
        profile: name of the profile.
        notebooks: path of each notebook, by stage, in order.
        declared: the declared parameters, by stage.
        values: the parameters to inject, by stage; those of FILES are absolute paths.
        hashes: of the content of the FILES that are given, by parameter.
    """

    profile: str
    notebooks: dict[str, Path]
    declared: dict[str, dict[str, Parameter]]
    values: dict[str, dict[str, Any]]
    hashes: dict[str, str]

    def values_by_content(self, stage: str) -> dict[str, Any]:
        """Return the values with the content of files for their path: a moved copy is the same."""
        values = self.values[stage]
        return {n: self.hashes.get(n, v) if v else v for n, v in values.items()}

    def default_folder(self, settings: Settings) -> Path:
        """Return the run folder that the parameters and the content of DATA stand for."""
        by_content = {stage: self.values_by_content(stage) for stage in self.notebooks}
        return settings.var_dir / "runs" / f"{self.profile}-{text_hash(by_content)[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return every parameter of every stage with the value that it has in this run."""
        used = {
            stage: {n: p.value for n, p in declared.items() if n != RESERVED} | self.values[stage]
            for stage, declared in self.declared.items()
        }
        hashes = {name.lower(): digest for name, digest in self.hashes.items()}
        return {"profile": self.profile, "data": "", **hashes, "stages": used}


def run_pipeline(
    profile: str = "default",
    overrides: Mapping[str, str] | None = None,
    *,
    until: str = "",
    force: bool = False,
    run_dir: Path | None = None,
    notebooks: Path = NOTEBOOKS,
    settings: Settings | None = None,
    package: Path = PACKAGE,
    bases: Sequence[Path] = (),
) -> RunResult:
    """Run the training notebooks in order; skip what is done and unchanged.

    Args:
        profile: name of a YAML file in `notebooks/params`.
        overrides: text by name, before the profile's values.
        until: the last stage to run, by name or number ("02"); "" means all.
        force: run also what is done.
        run_dir: the run folder; None derives it from the parameters and the content of DATA.
        notebooks: folder of the notebooks.
        settings: where `var/` and MLflow are; None reads the environment.
        package: folder of the library, of which the modules that a stage uses are part of it.
        bases: folders a relative path may be in, before the working directory.

    Raises:
        ParameterError: a parameter, the profile, `until` or the data is wrong; nothing was run.
        StageError: a cell failed. Calling again resumes at that stage.
    """
    settings = settings or get_settings()
    plan = _plan_run(profile, overrides or {}, notebooks, bases)
    chosen = _stages_until(until, list(plan.notebooks))
    run = (run_dir or plan.default_folder(settings)).resolve()
    if not _ran_before(run, plan, chosen):
        check_data(plan.declared, plan.values, chosen)
    run.mkdir(parents=True, exist_ok=True)
    with stages.locked(run):
        write_json(run / "parameters.json", plan.to_json())
        log.info("run started", run=str(run), profile=profile, stages=chosen)
        with watch(run, chosen, settings) as on_cell:
            ran = [
                stage
                for stage in chosen
                if _run_stage(
                    run, stage, plan, settings, package=package, force=force, on_cell=on_cell
                )
            ]
        _merge_metrics(run)
        if chosen == list(plan.notebooks):
            _log_to_mlflow(run, settings.mlflow_tracking_uri)
        log.info("run finished", run=str(run), ran=ran, **_decision(run))
    return RunResult(run, tuple(ran), tuple(s for s in chosen if s not in ran))


def _plan_run(
    profile: str, overrides: Mapping[str, str], notebooks: Path, bases: Sequence[Path]
) -> _Plan:
    """Read what the notebooks declare and check every value. Raises ParameterError."""
    paths = find_notebooks(notebooks, TRAINING_STAGES)
    declared = {stage: declared_parameters(path) for stage, path in paths.items()}
    sections = load_profile(notebooks / "params" / f"{profile}.yaml")
    values = resolve_parameters(declared, sections, overrides)
    # A profile belongs to the project, so a relative path in it counts from there.
    places = {name: [*bases, Path.cwd()] if overrides.get(name) else [ROOT] for name in FILES}
    hashes = {name: digest for name in FILES if (digest := _locate(name, values, places[name]))}
    return _Plan(profile, paths, declared, values, hashes)


def _locate(parameter: str, values: Mapping[str, dict[str, Any]], bases: Sequence[Path]) -> str:
    """Make every path of a parameter absolute, in place; return the hash of the file, or ""."""
    digest = ""
    for parameters in values.values():
        if parameters.get(parameter):
            name = Path(parameters[parameter]).expanduser()
            places = [(base / name).resolve() for base in bases]
            path = next((place for place in places if place.is_file()), None)
            if path is None:
                tried = " or ".join(dict.fromkeys(map(str, places)))
                raise ParameterError(
                    f"{parameter}: expected a CSV or Parquet file, there is no {tried}"
                )
            parameters[parameter] = str(path)
            digest = digest or f"sha256:{file_hash(path)}"
    return digest


def _stages_until(until: str, names: Sequence[str]) -> list[str]:
    """Return the stages up to `until`, all for "". Raises ParameterError for an unknown one."""
    for number, name in enumerate(names, 1):
        if until in (name, name[:2]):
            return list(names[:number])
    if until:
        raise ParameterError(f"--until {until}: expected one of {', '.join(names)}")
    return list(names)


def _ran_before(run: Path, plan: _Plan, stages_to_run: Sequence[str]) -> bool:
    """Return whether the run folder has these stages, of the same parameters and data."""
    try:
        earlier = json.loads((run / "parameters.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return earlier == to_json(plan.to_json()) and all(
        StageRecord.read(run, stage) for stage in stages_to_run
    )


def _run_stage(
    run: Path,
    stage: str,
    plan: _Plan,
    settings: Settings,
    *,
    package: Path,
    force: bool,
    on_cell: OnCell | None,
) -> bool:
    """Run one stage unless its record says that nothing changed; return whether it ran."""
    inputs = _earlier_outputs(run, stage, plan)
    notebook = plan.notebooks[stage]
    fingerprint = stages.fingerprint(notebook, plan.values_by_content(stage), inputs, package)
    if not force and _is_done(run, stage, fingerprint):
        log.info("stage skipped: parameters, code and inputs are unchanged", stage=stage)
        return False

    from lib.pipeline.execution import run_notebook  # a second to import

    log.info("stage started", stage=stage)
    started = time.perf_counter()
    stages.remove_outputs(run, stage)
    before = stages.signatures(run)
    values = plan.values[stage] | _run_dir_of(run, plan, stage)
    run_notebook(run, notebook, values, settings, on_cell)
    outputs = stages.written_since(run, before)
    for name in sorted(inputs.keys() & outputs.keys()):
        log.warning("stage rewrote a file of an earlier stage, which will run again", file=name)
    seconds = round(time.perf_counter() - started, 1)
    StageRecord(fingerprint, outputs, seconds).write(run, stage)
    log.info("stage finished", stage=stage, seconds=seconds)
    return True


def _earlier_outputs(run: Path, stage: str, plan: _Plan) -> dict[str, str]:
    """Return the sha256 of the files that earlier stages wrote, by path in the run."""
    records = [StageRecord.read(run, name) for name in plan.notebooks if name < stage]
    return {n: d for record in records if record for n, d in record.outputs.items()}


def _is_done(run: Path, stage: str, fingerprint: str) -> bool:
    """Return whether a stage ran with this fingerprint and all its files are intact."""
    record = StageRecord.read(run, stage)
    pages = (run / "notebooks" / f"{stage}.ipynb", run / "html" / f"{stage}.html")
    return (
        record is not None
        and record.fingerprint == fingerprint
        and all(page.is_file() for page in pages)
        and record.is_intact(run)
    )


def _run_dir_of(run: Path, plan: _Plan, stage: str) -> dict[str, str]:
    return {RESERVED: str(run)} if RESERVED in plan.declared[stage] else {}


def _merge_metrics(run: Path) -> None:
    """Write the metrics of all stages into one file, metrics.json."""
    paths = sorted((run / "metrics").glob("*.json"))
    merged = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    write_json(run / "metrics.json", merged)


def _decision(run: Path) -> dict[str, Any]:
    """Return the registered version and the gate's decision on it; empty without one."""
    path = run / "mlflow.json"
    outcome = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: outcome[name] for name in ("version", "promoted", "reason") if name in outcome}


def _log_to_mlflow(run: Path, tracking_uri: str) -> None:
    """Add the notebooks, pages, parameters and metrics to the run whose id a stage left."""
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
