"""The runner of the notebooks: stage by stage, resumable, from the command line.

What a notebook needs of it (`run_folder`, `record`) imports fast; papermill is imported only when
a stage has to run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.log import configure_logging
from lib.pipeline.backtest import REGISTER, WORKERS, run_backtest
from lib.pipeline.monitoring import describe_monitoring, run_monitoring
from lib.pipeline.parameters import (
    RESERVED,
    ParameterError,
    declared_parameters,
    load_profile,
    resolve_parameters,
)
from lib.pipeline.run import NOTEBOOKS, PATTERN, run_pipeline
from lib.pipeline.stages import StageError
from lib.settings import SettingsError, get_settings


def _describe_parameters(notebooks: Path, profile: str, given: Mapping[str, str]) -> str:
    """Every parameter with the value it has under a profile and what the command itself gives."""
    known = {path.stem: declared_parameters(path) for path in sorted(notebooks.glob(PATTERN))}
    names = {name for parameters in known.values() for name in parameters}
    given = {name: value for name, value in given.items() if name in names}
    values = resolve_parameters(
        known, load_profile(notebooks / "params" / f"{profile}.yaml"), given
    )
    lines = []
    for stage, parameters in known.items():
        lines.append(f"parameters of {stage}, with their values under {profile}:")
        for name, parameter in parameters.items():
            if name in values[stage]:
                parameter = replace(parameter, default=repr(values[stage][name]))
            if name != RESERVED:
                lines.append(f"  {parameter}")
    return "\n".join(lines)


def _pair(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        parser.error(f"expected an option or NAME=value, got {text!r}")
    return name, value


def _parser(notebooks: Path, profile: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, own, what, description in (
        (
            "train",
            {},
            "run the notebooks of the main job",
            "Run the numbered notebooks in order, skipping what is done and unchanged.",
        ),
        (
            "backtest",
            WORKERS | REGISTER,
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
            epilog=_describe_parameters(notebooks, profile, own),
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
        description="Run the notebook of monitoring on the registered run that was trained last.",
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
