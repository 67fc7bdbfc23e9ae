"""What a run has shown, in words: scores beside every baseline, the verdict, what to do next."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from lib.settings import ROOT

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Scores = Mapping[str, Mapping[str, float | None]]  # by forecast and metric
COLUMNS = {"mase": "MASE", "wape": "WAPE %", "wql": "WQL %", "coverage_80": "coverage 80 %"}
NAMES = {
    "forecaster": "this forecaster",
    "naive": "yesterday's value (naive)",
    "seasonal_naive": "last week's values (seasonal naive)",
    "weekday_median": "median of 8 same weekdays",
    "mean_7": "mean of the last week",
}
OURS = "forecaster"
SERVICE = "http://127.0.0.1:8000"
_DATA_STAGE = "01_synthesis"


@dataclass(frozen=True)
class RunSummary:
    """What a finished run has shown.

    Attributes:
        scores: mase, wape, wql, coverage_80 (per cent but for mase; None where not defined) of
            "forecaster" and of each baseline.
        verdict: whether the forecaster beats the best baseline, as a sentence.
        decision: what the gate decided, as a sentence; says so where nothing was registered.
        report: the page with all figures.
        next_steps: commands, with what each is for.
    """

    scores: Scores
    verdict: str
    decision: str
    report: Path
    next_steps: Mapping[str, str] = field(default_factory=dict)


def summarize_run(run: Path) -> RunSummary:
    """Read the summary of a finished training.

    Args:
        run: the run folder.

    Raises:
        FileNotFoundError: the run has no backtest yet.
    """
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    outcome = _read_json(run / "mlflow.json")
    judged = _read_json(run / "verdict.json")
    values = _read_json(run / "parameters.json").get("stages", {}).get(_DATA_STAGE, {})
    target = _as_arguments(values if values.get("DATA") else {"DATA": run / "series.parquet"})
    purpose = f"serve it, with its page, at {SERVICE}"
    if not outcome.get("promoted"):
        purpose = f"serve the production model, if there is one, at {SERVICE}"
    return RunSummary(
        scores=scores,
        verdict=_as_sentence(judged) if judged else describe_verdict(scores),
        decision=_describe_decision(outcome),
        report=run / "html" / "03_training.html",
        next_steps={
            f"make forecast {target} OUT=next.csv": "forecast the coming days",
            "make run-api": purpose,
        },
    )


def summarize_backtest(out: Path, parameters: Mapping[str, Any]) -> RunSummary:
    """Read the summary of a finished backtest.

    Args:
        out: the folder of its results.
        parameters: DATA and the names of its columns, as they were given.
    """
    scores = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    scores = {OURS: scores.pop("ours")} | scores
    target = _as_arguments(parameters)
    return RunSummary(
        scores=scores,
        verdict=describe_verdict(scores),
        decision=_describe_decision({}),
        report=out / "report.html",
        next_steps={
            f"make forecast {target} OUT=next.csv": "forecast the coming days",
            f"make train {target}": "train, register, and let the gate decide",
        },
    )


def show_summary(summary: RunSummary, console: Console) -> None:
    """Print a summary for people, on a console of rich."""
    console.print()
    console.print(_scores_table(summary.scores))
    console.print(summary.verdict, style="bold", soft_wrap=True, markup=False)
    console.print(summary.decision, soft_wrap=True, markup=False)
    console.print(f"\nReport: {_short(summary.report)}\nNext:", soft_wrap=True, markup=False)
    width = max(map(len, summary.next_steps), default=0)
    for command, purpose in summary.next_steps.items():
        console.print(f"  {command:<{width}}  {purpose}", soft_wrap=True, markup=False)


def describe_verdict(scores: Scores) -> str:
    """Return whether the forecaster beats the best baseline by MASE, as a sentence.

    >>> describe_verdict({"forecaster": {"mase": 0.8}, "mean_7": {"mase": 0.5}})
    'A simple forecast is better here, mean of the last week: MASE 0.8 against 0.5.'
    """
    known = {name: value for name in scores if _is_number(value := scores[name].get("mase"))}
    ours = known.pop(OURS, None)
    if ours is None or not known:
        return "No verdict: the scores are not defined, as for series that never change."
    best = min(known, key=lambda name: known[name])
    name, theirs = NAMES.get(best, best), known[best]
    numbers = f"MASE {ours:.3g} against {theirs:.3g}"
    if ours < theirs:
        less = f" ({100 * (1 - ours / theirs):.0f} % less)"
        return f"Better than the best simple forecast, {name}: {numbers}{less}."
    return f"A simple forecast is better here, {name}: {numbers}."


def _as_sentence(judged: Mapping[str, Any]) -> str:
    """Return the verdict that the training wrote (`lib.evaluation.Verdict`) as a sentence."""
    if judged["better"]:
        return f"Better than the best simple forecast: {judged['reason']}."
    return f"Not better than the best simple forecast: {judged['reason']}."


def _describe_decision(outcome: Mapping[str, Any]) -> str:
    if "version" not in outcome:
        return "Nothing was registered."
    place = "is now in production" if outcome.get("promoted") else "was not promoted"
    return f"Version {outcome['version']} {place}: {outcome.get('reason', '')}."


def _as_arguments(parameters: Mapping[str, Any]) -> str:
    """Return DATA and the names of its columns as typed behind `make`, without the usual names."""
    usual = {"DATE_COLUMN": "date", "VALUE_COLUMN": "value"}
    arguments = [f"DATA={_short(Path(parameters['DATA']))}"] if parameters.get("DATA") else []
    for name, value in parameters.items():
        is_column = name.endswith(("_COLUMN", "COVARIATES")) or name in ("COUNTRY", "STATE")
        if is_column and value not in ("", [], (), usual.get(name)) and not isinstance(value, bool):
            text = ",".join(value) if isinstance(value, (list, tuple)) else value
            arguments.append(f"{name}={text}")
    return shlex.join(arguments)


def _scores_table(scores: Scores) -> Table:
    """Return rich's table of the scores, the best of each column in bold."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("backtest")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    best = {name: _best_of(scores, name) for name in COLUMNS}
    for forecast, values in scores.items():
        cells = [_cell(values.get(name), best[name]) for name in COLUMNS]
        table.add_row(NAMES.get(forecast, forecast), *cells)
    return table


def _best_of(scores: Scores, name: str) -> float:
    values = [value for s in scores.values() if _is_number(value := s.get(name))]
    if name == "coverage_80":
        return min(values, key=lambda value: abs(value - 80), default=math.nan)
    return min(values, default=math.nan)


def _cell(value: float | None, best: float) -> str:
    if not _is_number(value):
        return "–"
    text = f"{value:#.3g}"
    return f"[bold]{text}[/bold]" if value == best else text


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _short(path: Path) -> str:
    """Return a path as typed in the project's folder, or in full where it is elsewhere."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
