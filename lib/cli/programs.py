"""The programs that do what a command asks for: the notebooks, the registry, the server."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from lib.cli.parameters import read_overrides, training_parameters


def configure_logs() -> None:
    """Write logs as the settings say."""
    from lib.log import configure_logging
    from lib.settings import get_settings

    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)


def run_instant_backtest(
    arguments: Sequence[str], profile: str, out: Path, bases: list[Path]
) -> None:
    """Judge the pretrained network in this process, without notebooks."""
    from lib.forecasting import backtest_instantly
    from lib.pipeline import report_summary, summarize_backtest
    from lib.settings import get_settings

    overrides = read_overrides(arguments, training_parameters)
    configure_logs()
    folder = backtest_instantly(profile, overrides, out=out, bases=bases)
    report_summary(summarize_backtest(folder, overrides), get_settings())


def run_pipeline(
    arguments: Sequence[str],
    words: list[str],
    profile: str,
    *,
    force: bool,
    run_dir: Path | None,
    bases: list[Path] | None,
) -> None:
    """Run the notebooks that some words of the pipeline name, and end with its exit code."""
    overrides = read_overrides(arguments, training_parameters)
    words += ["--profile", profile, *(["--force"] if force else [])]
    words += ["--run-dir", str(run_dir)] if run_dir else []
    for base in bases or []:
        words += ["--relative-to", str(base)]
    _call_pipeline(words, overrides)


def run_on_finished(command: str, overrides: dict[str, str], run_dir: Path | None) -> None:
    """Run a notebook on a run that is finished, and end with its exit code."""
    words = [command, *(["--run-dir", str(run_dir)] if run_dir else [])]
    _call_pipeline(words, overrides)


def _call_pipeline(words: list[str], overrides: dict[str, str]) -> None:
    from lib.pipeline.__main__ import run

    raise typer.Exit(run([*words, *(f"{name}={value}" for name, value in overrides.items())]))


def call_registry(words: list[str]) -> None:
    """Run a command of the registry, and end with its exit code."""
    from lib.registry.__main__ import main as run

    raise typer.Exit(run(words))


def become(module: str, arguments: list[str]) -> None:
    """Become another Python program: `lib` imports nothing of the server."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
