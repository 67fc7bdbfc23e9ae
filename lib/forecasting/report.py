"""The short report beside a forecast: what, by which model and why, and what to know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lib.forecasting.model_choice import Choice

MAX_ROWS = 20  # series in the table of sums


def write_report(
    out: Path,
    forecast: pd.DataFrame,
    choice: Choice,
    notes: Sequence[str],
    *,
    data: Path,
    history: pd.DataFrame,
    picture: Path,
) -> Path:
    """Write the report as Markdown beside the forecast, and return its path."""
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
        *(f"**Note.** {note[0].upper()}{note[1:]}.\n" for note in notes),
        f"![History and forecast]({picture.name})",
        "",
        "`mean` is the expected value: sum it for a budget. `q0.5` is the median: half of the days "
        "end above it. The value lies below `q0.9` on nine days of ten.",
        "",
        *_table_of_means(forecast),
        f"All numbers: [{out.name}]({out.name}). How good such forecasts were in the past: "
        "`make backtest`.",
    ]
    path = out.with_suffix(".md")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table_of_means(forecast: pd.DataFrame) -> list[str]:
    """Return a Markdown table of the mean day of each series."""
    columns = ["mean", "q0.1", "q0.5", "q0.9"]
    table = forecast.groupby("series_id", sort=False)[columns].mean()
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
