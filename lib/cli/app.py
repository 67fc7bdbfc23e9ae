"""`lstm-forecast`: the commands, in the order in which most people need them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lib.cli.exit_codes import exit_code_of
from lib.cli.parameters import (
    EXTRA,
    ForecastCommand,
    MonitoringCommand,
    PlanningCommand,
    TrainingCommand,
    apply_settings,
    forecast_parameters,
    monitoring_parameters,
    planning_parameters,
    read_overrides,
    take_settings,
)
from lib.cli.programs import (
    become,
    call_registry,
    configure_logs,
    run_instant_backtest,
    run_on_finished,
    run_pipeline,
)

START, OPERATE = "Forecast", "Operate a served model"

app = typer.Typer(
    name="lstm-forecast",
    help="Probabilistic forecasts of daily demand. Start with `lstm-forecast forecast "
    "--data sales.csv --out next.csv`.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Profile = Annotated[str, typer.Option(help="Settings: ci, default, thorough or one of yours.")]
Force = Annotated[bool, typer.Option("--force", help="Run also the stages that are unchanged.")]
RunDir = Annotated[Path | None, typer.Option(help="Run folder.", show_default="by the parameters")]
FinishedRun = Annotated[
    Path | None,
    typer.Option(help="Run folder.", show_default="of the production model, else trained last"),
]
RelativeTo = Annotated[
    list[Path] | None, typer.Option(help="Look for relative files here first.", hidden=True)
]


def _command(panel: str, kind: type[TyperCommand] | None = None) -> Callable[..., Any]:
    """Return the decorator of a command that takes NAME=value."""
    return app.command(
        cls=kind,
        context_settings=EXTRA,
        rich_help_panel=panel,
        options_metavar="[OPTIONS] [NAME=value ...]",
    )


@app.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Print the help where no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@_command(START, ForecastCommand)
def forecast(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="File to write, .csv or .parquet.")],
    effort: Annotated[
        str,
        typer.Option(
            help="instant (the pretrained network, seconds), default, thorough, or registered.",
            show_default="the production model where it has learned these series, else instant",
        ),
    ] = "",
    future: Annotated[
        Path | None, typer.Option(help="File of planned covariates of the coming days.")
    ] = None,
    include_ended: Annotated[
        bool, typer.Option("--include-ended", help="Forecast also series that ended long ago.")
    ] = False,
    totals: Annotated[
        str, typer.Option(help="Days to add up, such as 7,28 or 8-14,weeks,months.")
    ] = "",
    totals_by: Annotated[
        str,
        typer.Option(
            help="Add up series too: a column with one value a series, or all.",
            show_default="each series",
        ),
    ] = "",
    relative_to: RelativeTo = None,
) -> None:
    """Forecast the coming days of a file: table, picture and report."""
    from lib.cli.forecast import run_forecast

    overrides = read_overrides(context.args, forecast_parameters)
    configure_logs()
    run_forecast(
        overrides,
        out=out,
        effort=effort or None,
        future=future,
        include_ended=include_ended,
        totals=totals,
        totals_by=totals_by,
        bases=relative_to or [],
    )


@_command(START, TrainingCommand)
def train(
    context: typer.Context,
    profile: Profile = "default",
    until: Annotated[str, typer.Option(help="Stop after this stage, such as 02_tuning.")] = "",
    force: Force = False,
    run_dir: RunDir = None,
    relative_to: RelativeTo = None,
) -> None:
    """Train on a file, judge, register, and let the gate decide."""
    words = ["train", *(["--until", until] if until else [])]
    run_pipeline(context.args, words, profile, force=force, run_dir=run_dir, bases=relative_to)


@_command(START, TrainingCommand)
def backtest(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    profile: Profile = "default",
    effort: Annotated[
        str,
        typer.Option(
            help="instant (the pretrained network, seconds) or the name of a profile.",
            show_default="that of --profile",
        ),
    ] = "",
    force: Force = False,
    run_dir: RunDir = None,
    relative_to: RelativeTo = None,
) -> None:
    """Judge the forecaster on the past of your data, beside simple forecasts."""
    if effort == "instant":
        run_instant_backtest(context.args, profile, out, relative_to or [])
        return
    words = ["backtest", "--out", str(out)]
    run_pipeline(
        context.args, words, effort or profile, force=force, run_dir=run_dir, bases=relative_to
    )


@_command(START, TrainingCommand)
def explain(
    context: typer.Context,
    profile: Profile = "default",
    force: Force = False,
    run_dir: RunDir = None,
    relative_to: RelativeTo = None,
) -> None:
    """Explain a forecast of a trained run; train first what is not trained."""
    words = ["train", "--until", "04_explanation"]
    run_pipeline(context.args, words, profile, force=force, run_dir=run_dir, bases=relative_to)


@app.command(rich_help_panel=OPERATE, context_settings=EXTRA, add_help_option=False)
def serve(context: typer.Context) -> None:
    """Serve the page and the API, with a worker beside them (`serve --help`)."""
    become("serving.server", apply_settings(context.args))


@app.command(rich_help_panel=OPERATE, context_settings=EXTRA, add_help_option=False)
def worker(context: typer.Context) -> None:
    """Compute explanations in the background (`worker --help`)."""
    become("serving.worker", apply_settings(context.args))


@_command(OPERATE, MonitoringCommand)
def monitor(
    context: typer.Context,
    run_dir: FinishedRun = None,
) -> None:
    """Check forecasts against what came true: a page and JSON."""
    run_on_finished("monitor", read_overrides(context.args, monitoring_parameters), run_dir)


@_command(START, PlanningCommand)
def plan(
    context: typer.Context,
    run_dir: FinishedRun = None,
) -> None:
    """Answer how much is needed: a page with totals, orders and scenarios of a trained model."""
    run_on_finished("plan", read_overrides(context.args, planning_parameters), run_dir)


@_command(OPERATE)
def check(
    context: typer.Context,
    day: Annotated[
        str, typer.Option(help="Last day to check.", show_default="the last one with an actual")
    ] = "",
    no_retraining: Annotated[
        bool, typer.Option("--no-retraining", help="Only check and alert.")
    ] = False,
) -> None:
    """Check the served model, alert, and retrain where AUTO_RETRAIN allows it."""
    from lib.pipeline.check import main as run

    take_settings(context.args)
    words = [*(["--day", day] if day else []), *(["--no-retraining"] if no_retraining else [])]
    raise typer.Exit(run(words))


@app.command(rich_help_panel=OPERATE, context_settings=EXTRA, add_help_option=False)
def quarantine(context: typer.Context) -> None:
    """List, release or drop implausible actuals (`quarantine --help`)."""
    from lib.pipeline.quarantine import main as run

    raise typer.Exit(run(apply_settings(context.args)))


@_command(OPERATE)
def promote(
    context: typer.Context, version: Annotated[int, typer.Option(help="Its number.")]
) -> None:
    """Make a version the production one."""
    take_settings(context.args)
    call_registry(["promote", "--version", str(version)])


@_command(OPERATE)
def rollback(context: typer.Context) -> None:
    """Return to the production version before this one."""
    take_settings(context.args)
    call_registry(["rollback"])


@_command(OPERATE)
def runs(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, as JSON.")] = False,
) -> None:
    """List the registered versions: scores, aliases and the gate's decision."""
    take_settings(context.args)
    if as_json:
        call_registry(["show"])
    from lib.cli.runs import print_versions

    configure_logs()
    print_versions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 (failed), 2 (a wrong argument) or 130 (Ctrl-C)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code_of(lambda: app(_read_options(words), standalone_mode=False))


def _read_options(words: list[str]) -> list[str]:
    """Return the words of a command with `NAME=value` as `--name value` where that is an option.

    >>> _read_options(["backtest", "EFFORT=instant", "HORIZON=7"])
    ['backtest', '--effort', 'instant', 'HORIZON=7']
    """
    commands = getattr(typer.main.get_command(app), "commands", {})
    command = commands.get(words[0]) if words else None
    known = {name for option in command.params for name in option.opts} if command else set()
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        option = f"--{name.lower().replace('_', '-')}"
        found += [option, value] if equals and name.isupper() and option in known else [word]
    return found
