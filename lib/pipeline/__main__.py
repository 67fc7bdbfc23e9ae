"""The command line: `python -m lib.pipeline train`, `backtest`, `monitor` or `plan`.

Each command is a function of `lib.pipeline` (`run_pipeline`, `run_backtest`, `run_monitoring`,
`run_planning`).
Their progress goes to stderr. What a training or a backtest has shown goes to stdout, as one JSON
line, unless that is a terminal. What another command line needs beside them stands here:
`parse_assignments` for NAME=value and `exit_code_of` for errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lib.log import configure_logging
from lib.pipeline.backtest import REGISTER, WORKERS, run_backtest
from lib.pipeline.monitoring import run_monitoring, run_planning
from lib.pipeline.notebooks import MONITORING_STAGE, PLANNING_STAGE, ParameterError
from lib.pipeline.parameter_help import describe_notebook, describe_training
from lib.pipeline.run import run_pipeline
from lib.pipeline.stages import StageError
from lib.pipeline.summary import report_summary, summarize_backtest, summarize_run
from lib.settings import NOTEBOOKS, Settings, SettingsError, get_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 (a cell failed), 2 (a wrong parameter) or 130 (Ctrl-C)."""
    try:
        return run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to resume\n")
        return 130


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line as `main` does, and leave Ctrl-C to the caller, who says so."""
    return exit_code_of(lambda: _run_command(arguments))


def exit_code_of(command: Callable[[], None]) -> int:
    """Run a command and write its error, if any, to stderr; return the exit code."""
    try:
        command()
    except (ParameterError, SettingsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except StageError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Return the names and values of texts such as `HORIZON=28`.

    Raises:
        ValueError: a text has another form.
    """
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"expected an option or NAME=value, got {text!r}")
        values[name] = value
    return values


def _run_command(arguments: Sequence[str] | None) -> None:
    parser = _build_parser(_profile_in(arguments))
    # argparse takes positionals from one place only; these may stand between the options.
    options, rest = parser.parse_known_args(arguments)
    try:
        overrides = parse_assignments(rest)
    except ValueError as error:
        parser.error(str(error))
    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    if options.command in ("monitor", "plan"):
        run_notebook = run_monitoring if options.command == "monitor" else run_planning
        page = run_notebook(
            overrides, run_dir=options.run_dir, notebooks=options.notebooks, settings=settings
        )
        sys.stdout.write(f"{page}\n")
    elif options.command == "backtest":
        out = run_backtest(
            options.profile, overrides, out=options.out, **_run_options(options, settings)
        )
        report_summary(summarize_backtest(out, overrides), settings)
    else:
        run = run_pipeline(
            options.profile, overrides, until=options.until, **_run_options(options, settings)
        ).folder
        if (run / "scores.json").is_file():  # not where it stopped at an earlier stage
            report_summary(summarize_run(run), settings)


def _profile_in(arguments: Sequence[str] | None) -> str:
    """Return the profile that `--help` shows the values of."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--profile", default="default")
    return parser.parse_known_args(arguments)[0].profile


def _run_options(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    return {
        "force": options.force,
        "run_dir": options.run_dir,
        "notebooks": options.notebooks,
        "settings": settings,
        "bases": options.relative_to,
    }


def _build_parser(profile: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.pipeline",
        description="Run the notebooks stage by stage; what is done and unchanged is skipped.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = _add_command(
        commands,
        "train",
        help="run the training notebooks",
        description="Run the numbered notebooks in order, skipping what is done and unchanged.",
        epilog=describe_training(NOTEBOOKS, profile, {}),
    )
    train.add_argument(
        "--until", default="", metavar="STAGE", help="stop after it, such as 02_tuning"
    )
    backtest = _add_command(
        commands,
        "backtest",
        help="judge the forecaster on your data: forecasts and scores into a folder",
        description="Tune and fit on the days before the first cutoff, forecast from each cutoff, "
        "and write forecasts.parquet, metrics.json, backtest.png and report.html to --out. "
        "Nothing is registered. COVARIATES=0 withholds events and factor of the target days; "
        "FUTURE names a file of covariates with known_at: each cutoff sees what was known then.",
        epilog=describe_training(NOTEBOOKS, profile, WORKERS | REGISTER),
    )
    backtest.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the results"
    )
    for command in (train, backtest):
        _add_run_options(command)
    for name, pattern, purpose in (
        ("monitor", MONITORING_STAGE, "check a model's forecasts against the actual values"),
        ("plan", PLANNING_STAGE, "totals, orders and scenarios: how much do I need?"),
    ):
        command = _add_command(
            commands,
            name,
            help=purpose,
            description=f"Run the {pattern[:2]} notebook on the production model, wherever it was "
            "trained; without one, on the run that was trained last.",
            epilog=describe_notebook(NOTEBOOKS, pattern),
        )
        _add_folders(command, run_dir="that of the production model")
    return parser


def _add_command(commands: Any, name: str, **texts: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        usage=f"python -m lib.pipeline {name} [options] [NAME=value ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **texts,
    )


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile", default="default", help="a file of notebooks/params (default: default)"
    )
    command.add_argument(
        "--force", action="store_true", help="run also the stages that are unchanged"
    )
    _add_folders(command, run_dir="by the parameters")
    command.add_argument(
        "--relative-to",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look for a relative DATA here before the working directory; may be repeated",
    )


def _add_folders(command: argparse.ArgumentParser, *, run_dir: str) -> None:
    command.add_argument(
        "--run-dir", type=Path, metavar="DIR", help=f"run folder (default: {run_dir})"
    )
    command.add_argument(
        "--notebooks",
        type=Path,
        default=NOTEBOOKS,
        metavar="DIR",
        help="folder of the notebooks",
    )


if __name__ == "__main__":
    sys.exit(main())
