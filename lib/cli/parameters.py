"""Commands that take the parameters of the notebooks as options.

A parameter such as `DATE_COLUMN: str = "date"  # column of the day` may be given as
`--date-column day`, `--date-column=day` or `DATE_COLUMN=day`. Name, meaning, bounds and default
stand in the notebook alone; `--help` shows them from there.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from lib.pipeline import Parameter

EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}
MOST_USED = "Your data and the horizon"
FIRST = (
    "DATA",
    "DATE_COLUMN",
    "VALUE_COLUMN",
    "SERIES_COLUMN",
    "EXTERNAL_COLUMN",
    "EVENT_COLUMN",
    "COVARIATES",
    "PAST_COVARIATES",
    "STATIC_COVARIATES",
    "CATEGORICAL",
    "COUNTRY",
    "STATE",
    "HORIZON",
)
FORECAST = (*FIRST, "DECIMAL", "SEPARATOR", "ENCODING", "SEED")
PANELS = {
    "01_synthesis": "The file, or the series to synthesize",
    "02_tuning": "Choosing the settings",
    "03_training": "Training and backtest",
    "04_explanation": "Explanation",
    "forecast": "Reading the file, and chance",
}
Parameters = Mapping[str, Mapping[str, "Parameter"]]


class TrainingCommand(TyperCommand):
    """A command with the parameters of the training notebooks."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, of which the help needs the profile."""
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, then the parameters by what they are for, as the profile has them."""
        super().format_help(ctx, formatter)
        words = ctx.meta.get("words", [])
        profile = _find_profile(words)
        values = _profile_values(profile, registers=ctx.info_name != "backtest")
        print_parameters(training_parameters(), values)


class ForecastCommand(TyperCommand):
    """A command with those parameters that a forecast needs."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, then the parameters by what they are for."""
        super().format_help(ctx, formatter)
        print_parameters(forecast_parameters())


class MonitoringCommand(TyperCommand):
    """A command with the parameters of the monitoring notebook."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, then the parameters."""
        super().format_help(ctx, formatter)
        print_parameters(monitoring_parameters())


class PlanningCommand(TyperCommand):
    """A command with the parameters of the planning notebook."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, then the parameters."""
        super().format_help(ctx, formatter)
        print_parameters(planning_parameters())


def _find_profile(words: Sequence[str]) -> str:
    """Return the profile that is named among the words of a command."""
    for word, behind in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--profile="):
            return word.partition("=")[2]
        if word == "--profile":
            return behind
    return "default"


def _profile_values(profile: str, *, registers: bool) -> dict[str, Any]:
    """Return the values of a profile by name; a command that registers nothing says so."""
    from lib.pipeline import profile_values

    values = {n: v for each in profile_values(profile).values() for n, v in each.items()}
    return values if registers else values | {"REGISTER": False, "WORKERS": 1}


def training_parameters() -> Parameters:
    """Return the parameters of the training notebooks, by notebook and name."""
    from lib.pipeline import declared_stages

    return declared_stages()


def monitoring_parameters() -> Parameters:
    """Return the parameters of the monitoring notebook, by notebook and name."""
    from lib.pipeline import MONITORING_STAGE, declared_stages

    return declared_stages(pattern=MONITORING_STAGE)


def planning_parameters() -> Parameters:
    """Return the parameters of the planning notebook, by notebook and name."""
    from lib.pipeline import PLANNING_STAGE, declared_stages

    return declared_stages(pattern=PLANNING_STAGE)


def forecast_parameters() -> Parameters:
    """Return those parameters of the training notebooks that a forecast needs, under one key."""
    stages = training_parameters()
    # SEED is that of the training; the first notebook's is for synthetic series. COVARIATES names
    # columns in the first notebook; in the third it is a switch of the backtest.
    only = {"SEED": "03_training", "COVARIATES": "01_synthesis"}
    own = {"DATA": "CSV or Parquet file with one row a day, or a day and series"}
    parameters = {
        name: replace(parameter, comment=own.get(name, parameter.comment))
        for stage, each in stages.items()
        for name, parameter in each.items()
        if name in FORECAST and only.get(name, stage) == stage
    }
    return {"forecast": parameters}


def apply_settings(words: Sequence[str]) -> list[str]:
    """Set the settings among the words of a command, and return the other words.

    `REGISTERED_MODEL_NAME=sales` and `--registered-model-name sales` do what the variable of the
    environment does, for this command and the programs that it starts.

    Raises:
        ParameterError: an option has no value behind it.
    """
    if not words:
        return []
    from lib.pipeline import ParameterError
    from lib.settings import Settings

    names = {name.upper() for name in Settings.model_fields}
    others: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        text, equals, value = word.partition("=")
        is_option = text.startswith("--")
        name = text.removeprefix("--").replace("-", "_").upper() if is_option else text
        if name not in names or not (equals or is_option):
            others.append(word)
            continue
        if not equals:
            if not waiting:
                raise ParameterError(f"{text}: expected a value behind it")
            value = waiting.pop(0)
        os.environ[name] = value
    return others


def take_settings(words: Sequence[str]) -> None:
    """Set the settings behind a command that takes nothing else.

    Raises:
        ParameterError: a word is no setting.
    """
    if others := apply_settings(words):
        from lib.pipeline import ParameterError

        raise ParameterError(
            f"got {others[0]!r}, expected an option or a setting such as "
            "REGISTERED_MODEL_NAME=sales; see --help"
        )


def read_overrides(words: Sequence[str], load: Callable[[], Parameters]) -> dict[str, str]:
    """Return the parameters given behind a command, as text by name; set the settings there.

    Args:
        words: `NAME=value`, `--name value` and `--name=value`, in any order.
        load: returns the declared parameters; called only where there are words.

    Raises:
        ParameterError: a word is none of these, or a parameter is unknown.
    """
    words = apply_settings(words)
    if not words:
        return {}
    from lib.pipeline import ParameterError

    names = {name for parameters in load().values() for name in parameters}
    values: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        text, equals, value = word.partition("=")
        is_option = text.startswith("--")
        name = text.removeprefix("--").replace("-", "_").upper() if is_option else text
        if not is_option and not equals:
            raise ParameterError(f"got {word!r}, expected an option or NAME=value; see --help")
        if name not in names:
            raise ParameterError(_describe_unknown(text, name, names, is_option=is_option))
        if not equals:
            if not waiting:
                raise ParameterError(f"{text}: expected a value behind it")
            value = waiting.pop(0)
        values[name] = value
    return values


def _describe_unknown(text: str, name: str, names: set[str], *, is_option: bool) -> str:
    near = difflib.get_close_matches(name.upper(), sorted(names), n=1)
    spelled = f"--{near[0].lower().replace('_', '-')}" if near and is_option else "".join(near)
    hint = f"did you mean {spelled}?" if near else "see --help"
    return f"there is no parameter {text}; {hint}"


def print_parameters(stages: Parameters, values: Mapping[str, Any] | None = None) -> None:
    """Print the parameters to stdout, grouped, those that most people need first.

    Args:
        stages: by notebook and name.
        values: shown as defaults, by name; where there are none, those of the declaration.
    """
    from rich.console import Console

    console = Console()
    first: dict[str, Parameter] = {}
    for each in stages.values():
        for name in each.keys() & set(FIRST):
            first.setdefault(name, each[name])
    ordered = [first[name] for name in FIRST if name in first]
    if ordered:
        _print_panel(console, MOST_USED, ordered, values or {})
    shown = set(first)
    for stage, parameters in stages.items():
        rest = [p for name, p in parameters.items() if name not in shown]
        shown |= set(parameters)
        if rest:
            _print_panel(console, PANELS.get(stage, "Parameters"), rest, values or {})
    console.print(
        "Each may also be written NAME=value, such as HORIZON=14. So may the settings of "
        ".env.example, such as REGISTERED_MODEL_NAME=sales.",
        highlight=False,
    )


def _print_panel(
    console: Any, title: str, parameters: Sequence[Parameter], values: Mapping[str, Any]
) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(no_wrap=True, style="bold cyan")
    table.add_column(no_wrap=True, style="yellow")
    table.add_column()
    for parameter in parameters:
        option = f"--{parameter.name.lower().replace('_', '-')}"
        remarks = "; ".join(filter(None, (parameter.comment, parameter.bounds)))
        text = Text(remarks)
        value = values.get(parameter.name, parameter.value)
        if value not in ("", None, []):
            text.append(f" [default: {value}]", style="dim")
        table.add_row(option, parameter.type_name, text)
    console.print(Panel(table, title=title, title_align="left", border_style="dim"))
