"""What a run has shown, in words: scores beside every baseline, the verdict, what to do next."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.log import is_for_people
from lib.pipeline.score_table import (
    COLUMNS,
    NAMES,
    OURS,
    Scores,
    format_score,
    is_best,
    is_number,
)
from lib.settings import ROOT, Settings, get_settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SERVICE = "http://127.0.0.1:8000"
_DATA_STAGE = "01_synthesis"


@dataclass(frozen=True)
class RunSummary:
    """What a finished run has shown.

    Attributes:
        scores: mase, wape, wql, coverage_80 (per cent but for mase; None where not defined) of
            "ours" and of each baseline.
        verdict: whether the forecaster beats the best baseline, as a sentence.
        decision: what the gate decided, as a sentence; says so where nothing was registered.
        report: the page with all figures.
        next_steps: commands, with what each is for.
        notes: what a reader of the scores should know, a sentence each.
    """

    scores: Scores
    verdict: str
    decision: str
    report: Path
    next_steps: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


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
        purpose = f"serve the production model, or else this version as staging, at {SERVICE}"
    name = _as_name()
    return RunSummary(
        scores=scores,
        verdict=describe_verdict(scores, judged),
        decision=_describe_decision(outcome, judged),
        report=run / "html" / "03_training.html",
        next_steps={
            f"make forecast {target} OUT=next.csv{name}": "forecast the coming days",
            f"make run-api{name}": purpose,
        },
        notes=judged.get("notes", []),
    )


def summarize_backtest(out: Path, parameters: Mapping[str, Any]) -> RunSummary:
    """Read the summary of a finished backtest.

    Args:
        out: the folder of its results.
        parameters: DATA and the names of its columns, as they were given.
    """
    scores = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    scores = {name: scores[name] for name in sorted(scores, key=_place)}  # the file is sorted
    judged = _read_json(out / "verdict.json")
    target = _as_arguments(parameters)
    return RunSummary(
        scores=scores,
        verdict=describe_verdict(scores, judged),
        decision=_describe_decision({}, {}),
        report=out / "report.html",
        next_steps={
            f"make forecast {target} OUT=next.csv{_as_name()}": "forecast the coming days",
            f"make train {target}{_as_name()}": "train, register, and let the gate decide",
        },
        notes=judged.get("notes", []),
    )


def show_summary(summary: RunSummary, console: Console) -> None:
    """Print a summary for people, on a console of rich."""
    console.print()
    console.print(_scores_table(summary.scores))
    console.print(summary.verdict, style="bold", soft_wrap=True, markup=False)
    for sentence in (*summary.notes, summary.decision):
        console.print(sentence, soft_wrap=True, markup=False)
    console.print(f"\nReport: {_short(summary.report)}\nNext:", soft_wrap=True, markup=False)
    for command, purpose in summary.next_steps.items():
        console.print(f"  {command}", soft_wrap=True, markup=False)
        console.print(f"      to {purpose}", style="dim", soft_wrap=True, markup=False)


def report_summary(summary: RunSummary, settings: Settings) -> None:
    """Show a summary to a person on stderr, and to a program as a JSON line on stdout."""
    for_people = is_for_people(settings.log_format)
    if for_people:
        from rich.console import Console

        show_summary(summary, Console(stderr=True, highlight=False))
    if not (for_people and sys.stdout.isatty()):
        sys.stdout.write(json.dumps(_document(summary), default=str) + "\n")


def _document(summary: RunSummary) -> dict[str, Any]:
    """Return a summary for JSON: what was decided first, the scores to four digits behind it."""
    document = asdict(summary)
    scores = {
        name: {metric: _round(value) for metric, value in values.items()}
        for name, values in document.pop("scores").items()
    }
    return document | {"scores": scores}


def _round(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def describe_verdict(scores: Scores, judged: Mapping[str, Any] | None = None) -> str:
    """Return whether the forecaster beats the best simple forecasts, as a sentence.

    Args:
        scores: by forecast and metric.
        judged: the verdict that the training wrote (`lib.evaluation.Verdict`); without it, the
            scores are compared by MASE and by WQL.

    >>> describe_verdict({"ours": {"mase": 0.8}, "mean_7": {"mase": 0.5}})
    'Not better than the best simple forecast: MASE 0.8, mean of the last week 0.5.'
    """
    if judged:
        better = judged["better"]
        reason = _spell("; ".join([judged["reason"], *_other_metrics(judged)]))
    else:
        better, reason = _compare(scores)
    if not reason:
        return "No verdict: the scores are not defined, as for series that never change."
    if not better:
        return f"Not better than the best simple forecast: {reason}."
    noise = ", though by so little that it may be chance" if "within noise" in reason else ""
    return f"Better than the best simple forecast{noise}: {reason}."


def _other_metrics(judged: Mapping[str, Any]) -> list[str]:
    """Return the comparison in the metrics that the reason leaves out: ours is better there."""
    return [
        f"{metric} {judged[f'score_{metric}']:.4g} beats "
        f"{NAMES.get(judged[f'best_baseline_{metric}'], judged[f'best_baseline_{metric}'])}, "
        f"{judged[f'best_baseline_score_{metric}']:.4g}"
        for metric in ("mase", "wql")
        if f"score_{metric}" in judged and metric not in judged["reason"]
    ]


def _compare(scores: Scores) -> tuple[bool, str]:
    """Return whether ours has the lower MASE and WQL, and the numbers; "" without any."""
    parts, better = [], True
    for metric in ("mase", "wql"):
        known = {name: value for name in scores if is_number(value := scores[name].get(metric))}
        ours = known.pop(OURS, None)
        if ours is None or not known:
            continue
        best = min(known, key=lambda name: known[name])
        better = better and ours < known[best]
        parts.append(f"{metric.upper()} {ours:.3g}, {NAMES.get(best, best)} {known[best]:.3g}")
    return better, "; ".join(parts)


def _spell(reason: str) -> str:
    """Return a reason with the metrics in capitals, as everywhere that people read."""
    return re.sub(r"\b(mase|wql|mae|rmse|wape)\b", lambda found: found[0].upper(), reason)


def _describe_decision(outcome: Mapping[str, Any], judged: Mapping[str, Any]) -> str:
    """Return what the gate decided and why; what the verdict says already is not repeated."""
    if "version" not in outcome:
        return "Nothing was registered."
    promoted, reason = outcome.get("promoted"), outcome.get("reason", "")
    if judged.get("reason"):
        known = "it beats the simple forecasts" if promoted else "it does not beat them"
        reason = reason.replace(judged["reason"], known)
    place = "is now in production" if promoted else "was not promoted"
    return f"Version {outcome['version']} {place}: {_spell(reason)}."


def _place(name: str) -> int:
    """Return where a forecast stands in tables: ours first, then the simple ones."""
    names = list(NAMES)
    return names.index(name) if name in names else len(names)


def _as_name() -> str:
    """Return REGISTERED_MODEL_NAME as typed behind `make`, "" where it is the usual one."""
    name = get_settings().registered_model_name
    usual = Settings.model_fields["registered_model_name"].default
    return "" if name == usual else " " + shlex.join([f"REGISTERED_MODEL_NAME={name}"])


def _as_arguments(parameters: Mapping[str, Any]) -> str:
    """Return files and the names of columns as typed behind `make`, without the usual names."""
    usual = {"DATE_COLUMN": "date", "VALUE_COLUMN": "value"}
    files = {name: parameters.get(name) for name in ("DATA", "FUTURE")}
    arguments = [f"{name}={_short(Path(path))}" for name, path in files.items() if path]
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
    for forecast, values in scores.items():
        cells = [
            f"[bold]{text}[/bold]" if is_best(scores, forecast, metric) else text
            for metric in COLUMNS
            for text in [format_score(values.get(metric))]
        ]
        table.add_row(NAMES.get(forecast, forecast), *cells)
    return table


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _short(path: Path) -> str:
    """Return a path as typed in the project's folder, or in full where it is elsewhere."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
