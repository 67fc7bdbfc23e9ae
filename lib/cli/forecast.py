"""The command `forecast`: a file by `Forecaster`, a folder of Parquet by Ray."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from lib.cli.parameters import forecast_parameters
from lib.forecasting import READING, ForecastFiles, forecast_file
from lib.pipeline import ParameterError

log = structlog.get_logger()


def run_forecast(
    overrides: Mapping[str, str],
    *,
    out: Path,
    effort: str | None,
    future: Path | None,
    include_ended: bool,
    totals: str = "",
    totals_by: str = "",
    bases: Sequence[Path],
) -> None:
    """Forecast a file and report what was written.

    Raises:
        ParameterError: an argument is wrong.
        SeriesError: the data cannot be used.
    """
    values = _parse(overrides)
    if not values.get("DATA"):
        raise ParameterError("DATA: expected a file of the past, such as DATA=sales.csv")
    result = forecast_file(
        Path(str(values["DATA"])),
        out,
        horizon=int(values.get("HORIZON", 28)),
        effort=effort,
        future=future,
        country=str(values.get("COUNTRY", "")),
        state=str(values.get("STATE", "")),
        seed=int(values.get("SEED", 0)),
        include_ended=include_ended,
        totals=[item for item in totals.split(",") if item.strip()],
        totals_by=totals_by,
        reading={name.lower(): values[name] for name in READING if name in values},
        bases=bases,
        progress=sys.stderr.isatty(),
    )
    if sys.stdout.isatty():
        _print_result(result)
    else:
        _log_result(result)


def _parse(overrides: Mapping[str, str]) -> dict[str, Any]:
    """Return the values in the types that the notebooks declare."""
    declared = {name: p for each in forecast_parameters().values() for name, p in each.items()}
    values: dict[str, Any] = {}
    for name, text in overrides.items():
        try:
            values[name] = declared[name].parse(text)
        except ValueError as error:
            raise ParameterError(f"{name}: {error}") from error
    return values


def _facts(result: ForecastFiles) -> tuple[int, str, str]:
    days = result.forecast["date"]
    return (
        result.forecast["series_id"].nunique(),
        f"{days.min():%Y-%m-%d}",
        f"{days.max():%Y-%m-%d}",
    )


def _print_result(result: ForecastFiles) -> None:
    from rich.console import Console

    count, first, last = _facts(result)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{count} series forecast, {first} to {last}[/bold]")
    console.print(f"  model    {result.choice.model}", markup=False)
    console.print(f"  why      {result.choice.reason}", markup=False)
    for note in result.notes:
        console.print(f"  note     {note}", style="yellow", markup=False)
    console.print(f"  forecast {result.out}", markup=False)
    if result.totals:
        console.print(f"  totals   {result.totals}", markup=False)
    console.print(f"  picture  {result.picture}", markup=False)
    console.print(f"  report   {result.report}", markup=False)
    if result.choice.effort == "instant":
        console.print("For a network trained on this data: EFFORT=default (minutes).")


def _log_result(result: ForecastFiles) -> None:
    count, first, last = _facts(result)
    for note in result.notes:
        log.info("forecast note", note=note)
    log.info(
        "forecast written",
        out=str(result.out),
        **({"totals": str(result.totals)} if result.totals else {}),
        picture=str(result.picture),
        report=str(result.report),
        series=count,
        first=first,
        last=last,
        effort=result.choice.effort,
        model=result.choice.model,
        reason=result.choice.reason,
    )
