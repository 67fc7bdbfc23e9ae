"""Runs the notebooks of the main job in order, and skips what is done and unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from lib import files
from lib.files import write_json
from lib.pipeline import stages
from lib.pipeline.monitoring import execute_in
from lib.pipeline.parameters import (
    RESERVED,
    ParameterError,
    declared_parameters,
    load_profile,
    resolve_parameters,
)
from lib.pipeline.stages import StageRecord
from lib.settings import NOTEBOOKS, PACKAGE, ROOT, Settings, get_settings

log = structlog.get_logger()
PATTERN = "0[1-4]_*.ipynb"  # the main job; later notebooks stand alone


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, and the stages that ran and those that were skipped."""

    folder: Path
    ran: tuple[str, ...]
    skipped: tuple[str, ...]


def run_pipeline(
    profile: str = "default",
    overrides: Mapping[str, str] | None = None,
    *,
    until: str = "",
    force: bool = False,
    run_dir: Path | None = None,
    notebooks: Path = NOTEBOOKS,
    settings: Settings | None = None,
    code: Path = PACKAGE,
    bases: Sequence[Path] = (),
) -> RunResult:
    """Run the numbered notebooks in order; skip what is done and unchanged.

    Args:
        profile: name of a YAML file in `notebooks/params`.
        overrides: name → text, before the profile's values.
        until: the last stage to run, by name or number ("02"); "" means all.
        force: run also what is done.
        run_dir: the run folder; None derives it from the parameters and the content of DATA.
        notebooks: folder of the notebooks.
        settings: where `var/` and MLflow are; None reads the environment.
        code: folder whose sources count as the library.
        bases: folders a relative DATA may be in, before the working directory.

    Raises:
        ParameterError: a parameter, the profile or `until` is wrong; nothing was run.
        StageError: a cell failed. Calling again resumes at that stage.
    """
    settings = settings or get_settings()
    paths = {path.stem: path for path in sorted(notebooks.resolve().glob(PATTERN))}
    if not paths:
        raise ParameterError(f"no notebooks {PATTERN} in {notebooks}")
    last = _last_stage(until, list(paths))
    known = {name: declared_parameters(path) for name, path in paths.items()}
    sections = load_profile(notebooks / "params" / f"{profile}.yaml")
    values = resolve_parameters(known, sections, overrides or {})
    from_profile = not (overrides or {}).get("DATA")
    digest = _locate_data(values, [ROOT] if from_profile else [*bases, Path.cwd()])
    # A moved or renamed copy of the same data is the same run.
    by_content = {
        stage: {n: digest if n == "DATA" and v else v for n, v in each.items()}
        for stage, each in values.items()
    }
    name = f"{profile}-{files.text_hash(by_content)[:12]}"
    run = (run_dir or settings.var_dir / "runs" / name).resolve()
    run.mkdir(parents=True, exist_ok=True)
    names = list(paths)[: list(paths).index(last) + 1]
    with stages.locked(run):
        used = {
            stage: {n: p.value for n, p in known[stage].items() if n != RESERVED} | values[stage]
            for stage in paths
        }
        write_json(run / "parameters.json", {"profile": profile, "data": digest, "stages": used})
        log.info("run started", run=str(run), profile=profile, stages=names)
        ran = []
        for stage in names:
            inject = values[stage] | ({RESERVED: str(run)} if RESERVED in known[stage] else {})
            parts = (by_content[stage], stages.code_hash(code))
            if _run_stage(run, paths[stage], parts, inject, settings, force=force):
                ran.append(stage)
        _merge_metrics(run)
        if last == list(paths)[-1]:
            stages.log_to_mlflow(run, settings.mlflow_tracking_uri)
        log.info("run finished", run=str(run), ran=ran, **_outcome(run))
    return RunResult(run, tuple(ran), tuple(s for s in names if s not in ran))


def _run_stage(
    run: Path,
    notebook: Path,
    parts: tuple[Mapping[str, Any], str],
    inject: Mapping[str, Any],
    settings: Settings,
    *,
    force: bool,
) -> bool:
    """Run one stage unless its record says that nothing changed; tell whether it ran."""
    stage = notebook.stem
    earlier = [p.stem for p in sorted(notebook.parent.glob(PATTERN)) if p.stem < stage]
    records = {name: StageRecord.read(run, name) for name in earlier}
    inputs = {n: d for each in records.values() if each for n, d in each.outputs.items()}
    values, code = parts
    fingerprint = stages.fingerprint(notebook, values, code, inputs)
    done = StageRecord.read(run, stage)
    executed, page = run / "notebooks" / notebook.name, run / "html" / f"{stage}.html"
    whole = executed.is_file() and page.is_file()
    if done and not force and whole and done.fingerprint == fingerprint and done.holds(run):
        log.info("stage skipped: parameters, code and inputs are unchanged", stage=stage)
        return False

    log.info("stage started", stage=stage)
    started = time.perf_counter()
    stages.forget(run, stage)
    before = stages.signatures(run)
    execute_in(run, notebook, inject, settings)
    outputs = stages.written_since(run, before)
    for name in sorted(inputs.keys() & outputs.keys()):
        log.warning("stage rewrote a file of an earlier stage, which will run again", file=name)
    seconds = round(time.perf_counter() - started, 1)
    StageRecord(fingerprint, outputs, seconds).write(run, stage)
    log.info("stage finished", stage=stage, seconds=seconds)
    return True


def _locate_data(values: Mapping[str, dict[str, Any]], bases: Sequence[Path]) -> str:
    """Make every DATA an absolute path, in place, and return the hash of its content, or ""."""
    digest = ""
    for each in values.values():
        if each.get("DATA"):
            asked = Path(each["DATA"]).expanduser()
            places = [(base / asked).resolve() for base in bases]
            found = next((place for place in places if place.is_file()), None)
            if found is None:
                looked = " or ".join(dict.fromkeys(map(str, places)))
                raise ParameterError(f"DATA: expected a CSV or Parquet file, there is no {looked}")
            each["DATA"] = str(found)
            digest = digest or f"sha256:{files.file_hash(found)}"
    return digest


def _last_stage(until: str, names: list[str]) -> str:
    matches = [name for name in names if until in (name, name[:2])] if until else names[-1:]
    if not matches:
        raise ParameterError(f"--until {until}: expected one of {', '.join(names)}")
    return matches[0]


def _merge_metrics(run: Path) -> None:
    found = sorted((run / "metrics").glob("*.json"))
    merged = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in found}
    write_json(run / "metrics.json", merged)


def _outcome(run: Path) -> dict[str, Any]:
    """The registered version and what the gate said of it, where there is one."""
    path = run / "mlflow.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: found[name] for name in ("version", "promoted", "reason") if name in found}
