"""The short report beside a forecast: what, by which model and why, and what to know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lib.forecasting.model_choice import Choice

MAX_ROWS = 20  # series in the table of sums
NO_NAME = "series"  # of the one series of a file without a column of names
# First words of notes; others are names of columns, which keep their letters
WORDS = ("not", "no", "closed", "the", "little", "sparse", "demand", "values", "one", "scenario")


def write_report(
    out: Path,
    forecast: pd.DataFrame,
    choice: Choice,
    notes: Sequence[str],
    *,
    data: Path,
    history: pd.DataFrame,
    picture: Path,
    unit: str,
) -> Path:
    """Write the report as Markdown beside the forecast, and return its path.

    Args:
        out: file of the forecast.
        forecast: as `Forecaster.predict` returns it.
        choice: what forecast, and why.
        notes: what a reader should know.
        data: file of the history.
        history: canonical.
        picture: beside the report.
        unit: column of the values, which names a series without a name.
    """
    ids = forecast["series_id"].nunique()
    first, last = forecast["date"].min(), forecast["date"].max()
    lines = [
        f"# Forecast of {data.name}",
        "",
        f"{ids} series, {first:%Y-%m-%d} to {last:%Y-%m-%d}; made on {datetime.now(UTC):%Y-%m-%d}.",
        "",
        f"**Model.** {choice.model[0].upper()}{choice.model[1:]}. Why: {choice.reason}.",
        "",
        f"**History.** {history['value'].notna().sum():,} known values, "
        f"{history['date'].min():%Y-%m-%d} to {history['date'].max():%Y-%m-%d}.",
        "",
        *(f"**Note.** {_as_sentence(note)}\n" for note in notes),
        f"![History and forecast]({picture.name})",
        "",
        "`mean` is the expected value: sum it for a budget. `q0.5` is the median: half of the days "
        "should end above it, or fewer where the same value comes often. The value should lie "
        "below `q0.9` on nine days of ten, and between `q0.1` and `q0.9`, the 80 % interval, on "
        "eight.",
        "",
        *_table_of_means(forecast, unit),
        f"All numbers: [{out.name}]({out.name}). How good such forecasts were in the past: "
        "`make backtest`.",
    ]
    path = out.with_suffix(".md")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _as_sentence(note: str) -> str:
    """Return a note with a capital, unless it begins with the name of a column."""
    first = note.partition(" ")[0].rstrip(",")
    is_word = first in WORDS
    return f"{note[0].upper() if is_word else note[0]}{note[1:]}."


def _table_of_means(forecast: pd.DataFrame, unit: str) -> list[str]:
    """Return a Markdown table of the mean day of each series."""
    columns = ["mean", "q0.1", "q0.5", "q0.9"]
    table = forecast.groupby("series_id", sort=False)[columns].mean()
    table = table.rename(index={NO_NAME: unit}) if len(table) == 1 else table
    lines = [
        "| series | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
        *(
            f"| {name} | " + " | ".join(f"{number:,.4g}" for number in row) + " |"
            for name, row in zip(table.index[:MAX_ROWS], table.to_numpy(), strict=False)
        ),
    ]
    more = f" {MAX_ROWS} of {len(table)} series." if len(table) > MAX_ROWS else ""
    return ["Means over the days of the forecast:" + more, "", *lines, ""]
