"""The runner of the notebooks: stage by stage, resumable, from the command line.

What a notebook needs of it (`run_folder`, `record`) imports fast; papermill is imported only when
a stage has to run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from lib import stages
from lib.parameters import RESERVED, ParameterError, declared, load_profile, resolve
from lib.pipeline_monitoring import describe_monitoring, execute_in, run_monitoring
from lib.settings import ROOT, Settings, SettingsError, configure_logging, get_settings
from lib.stages import StageError, StageRecord, plain, write_json

log = structlog.get_logger()

NOTEBOOKS = ROOT / "notebooks"
_PATTERN = "0[1-4]_*.ipynb"  # the main job; later notebooks stand alone


def run_folder(run_dir: str | Path) -> Path:
    """Return the folder `run_dir`, created.

    A relative path counts from the project root, and `var/…` from the `VAR_DIR` of the settings,
    whatever the working directory is.
    """
    path = Path(run_dir).expanduser()
    if not path.parts:
        raise ValueError("RUN_DIR: expected a folder such as var/runs/explore, got an empty text")
    if not path.is_absolute():
        first, *rest = path.parts
        path = get_settings().var_dir.joinpath(*rest) if first == "var" else ROOT / path
    path.mkdir(parents=True, exist_ok=True)
    return path


def record(run_dir: str | Path, stage: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Write the named `metrics` of `stage` to `metrics/<stage>.json` in the run, and return them.

    Names are sorted, floats rounded to 10 significant digits, what is not finite becomes null;
    NumPy scalars and arrays count as the numbers they hold.
    """
    rounded = plain(metrics)
    write_json(run_folder(run_dir) / "metrics" / f"{stage}.json", rounded)
    return rounded


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
    code: Path = ROOT / "lib",
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
    paths = {path.stem: path for path in sorted(notebooks.resolve().glob(_PATTERN))}
    if not paths:
        raise ParameterError(f"no notebooks {_PATTERN} in {notebooks}")
    last = _last_stage(until, list(paths))
    known = {name: declared(path) for name, path in paths.items()}
    sections = load_profile(notebooks / "params" / f"{profile}.yaml")
    values = resolve(known, sections, overrides or {})
    from_profile = not (overrides or {}).get("DATA")
    digest = _locate_data(values, [ROOT] if from_profile else [*bases, Path.cwd()])
    # A moved or renamed copy of the same data is the same run.
    by_content = {
        stage: {n: digest if n == "DATA" and v else v for n, v in each.items()}
        for stage, each in values.items()
    }
    name = f"{profile}-{stages.text_hash(by_content)[:12]}"
    run = run_folder(run_dir.absolute() if run_dir else settings.var_dir / "runs" / name).resolve()
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
    earlier = [p.stem for p in sorted(notebook.parent.glob(_PATTERN)) if p.stem < stage]
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
            digest = digest or f"sha256:{stages.file_hash(found)}"
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


def run_backtest(
    profile: str = "default",
    overrides: Mapping[str, str] | None = None,
    *,
    out: Path,
    force: bool = False,
    run_dir: Path | None = None,
    notebooks: Path = NOTEBOOKS,
    settings: Settings | None = None,
    bases: Sequence[Path] = (),
) -> Path:
    """Judge the forecaster: the stages up to the training, nothing registered. → the folder `out`.

    `out` is created, relative to the first of `bases`, and gets forecasts.parquet (series_id,
    cutoff, date, horizon in days, one column `q<level>` each, in the series' own unit),
    metrics.json (mase, wape, wql, coverage_80 and n, the days scored, of ours and of every
    baseline; null where there is none), backtest.png and report.html. The other arguments are
    those of `run_pipeline`, which says what is raised; so is a folder that cannot be made, before
    anything runs.

    One worker tunes unless WORKERS says otherwise: with more, the search's path, and with it the
    forecasts, depends on who finishes first, and a changed future could not be told from chance.
    """
    given = dict(overrides or {})
    out = (bases[0] if bases else Path.cwd()) / out.expanduser()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"OUT: cannot make the folder {out} ({error.strerror}); give one that this user may "
            "write to"
        ) from error
    run = run_pipeline(
        profile,
        {"WORKERS": "1"} | given | {"REGISTER": "false"},
        until="03_training",
        force=force,
        run_dir=run_dir,
        notebooks=notebooks,
        settings=settings,
        bases=bases,
    ).folder
    _hand_over(run, out)
    return out


def _hand_over(run: Path, out: Path) -> None:
    """Copy what a backtest found to the folder `out`, each file whole or not at all."""
    import pandas as pd

    forecasts = pd.read_parquet(run / "forecasts.parquet").drop(columns="actual")
    forecasts.to_parquet(out / "forecasts.parquet.tmp", index=False)
    for source, name in (("backtest.png",) * 2, ("html/03_training.html", "report.html")):
        shutil.copyfile(run / source, out / f"{name}.tmp")
    for name in ("forecasts.parquet", "backtest.png", "report.html"):
        (out / f"{name}.tmp").replace(out / name)
    found = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    names = ("mase", "wape", "wql", "coverage_80")
    scores = {
        name: {key: each.get(key) for key in names} | {"n": int(each["days"])}
        for name, each in ({"ours": found.pop("forecaster")} | found).items()
    }
    write_json(out / "metrics.json", plain(scores))
    for name, each in scores.items():
        log.info("backtest", forecast=name, **plain(each))


def _describe_parameters(notebooks: Path, profile: str) -> str:
    """Every parameter with the value it has under a profile."""
    known = {path.stem: declared(path) for path in sorted(notebooks.glob(_PATTERN))}
    values = resolve(known, load_profile(notebooks / "params" / f"{profile}.yaml"), {})
    lines = []
    for stage, parameters in known.items():
        lines.append(f"parameters of {stage}, with their values under {profile}:")
        for name, parameter in parameters.items():
            if name in values[stage]:
                parameter = replace(parameter, default=repr(values[stage][name]))
            if name != RESERVED:
                lines.append(f"  {parameter}")
    return "\n".join(lines)


def _outcome(run: Path) -> dict[str, Any]:
    """The registered version and what the gate said of it, where there is one."""
    path = run / "mlflow.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: found[name] for name in ("version", "promoted", "reason") if name in found}


def _pair(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        parser.error(f"expected an option or NAME=value, got {text!r}")
    return name, value


def _parser(notebooks: Path, profile: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what, description in (
        (
            "train",
            "run the notebooks of the main job",
            "Run the numbered notebooks in order, skipping what is done and unchanged.",
        ),
        (
            "backtest",
            "judge the forecaster on your data: forecasts and scores into a folder",
            "Tune and fit on the days before the first cutoff, forecast from each cutoff, and "
            "write forecasts.parquet, metrics.json, backtest.png and report.html to --out. "
            "Nothing is registered. COVARIATES=0 withholds events and factor of the target days.",
        ),
    ):
        command = commands.add_parser(
            name,
            help=what,
            description=description,
            epilog=_describe_parameters(notebooks, profile),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add = command.add_argument
        if name == "train":
            add("--until", default="", metavar="STAGE", help="stop after it, such as 02_tuning")
        else:
            add("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
        _add_common(command)
        command.usage = f"python -m lib.pipeline {name} [options] [NAME=value ...]"
    monitor = commands.add_parser(
        "monitor",
        help="check a model's forecasts against what came true",
        description="Run the notebook of monitoring on the run that was trained last.",
        epilog=describe_monitoring(notebooks),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = monitor.add_argument
    add("--run-dir", type=Path, metavar="DIR", help="run folder (default: trained last)")
    add("--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help="folder of the notebooks")
    monitor.usage = "python -m lib.pipeline monitor [options] [NAME=value ...]"
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--profile", default="default", help="a file of notebooks/params (default: default)")
    add("--force", action="store_true", help="run also the stages that are unchanged")
    add("--run-dir", type=Path, metavar="DIR", help="run folder (default: by the parameters)")
    add("--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help="folder of the notebooks")
    add(
        "--relative-to",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look for a relative DATA here before the working directory; may be repeated",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 (a cell failed), 2 (a wrong parameter) or 130 (Ctrl-C)."""
    try:
        # `--help` shows the values of the profile that is asked for beside it.
        ahead = argparse.ArgumentParser(add_help=False)
        ahead.add_argument("--profile", default="default")
        parser = _parser(NOTEBOOKS, ahead.parse_known_args(arguments)[0].profile)
        # argparse takes positionals from one place only; these may stand between the options.
        asked, rest = parser.parse_known_args(arguments)
        overrides = dict(_pair(parser, text) for text in rest)
        settings = get_settings()
        configure_logging(settings.log_level)
        if asked.command == "monitor":
            page = run_monitoring(asked.notebooks, settings, overrides, run_dir=asked.run_dir)
            sys.stdout.write(f"{page}\n")
            return 0
        common: dict[str, Any] = {
            "force": asked.force,
            "run_dir": asked.run_dir,
            "notebooks": asked.notebooks,
            "settings": settings,
            "bases": asked.relative_to,
        }
        if asked.command == "backtest":
            run_backtest(asked.profile, overrides, out=asked.out, **common)
        else:
            run_pipeline(asked.profile, overrides, until=asked.until, **common)
    except (ParameterError, SettingsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to resume\n")
        return 130
    except StageError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
