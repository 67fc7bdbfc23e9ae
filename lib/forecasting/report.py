"""The short report beside a forecast: what, by which model and why, and what to know."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lib.forecasting.model_choice import Choice

MAX_ROWS = 20  # series in the table of sums
MAX_NAMES = 5  # series in a note
FEW_DAYS = 60  # values of a series, below which it rests on others
SPARSE = 0.5  # share of days without demand
RARE = 0.9  # share of days without demand, above which quantiles may miss what there is
LAST_DAYS = 365  # by which demand is compared
NO_NAME = "series"  # of the one series of a file without a column of names
# First words of notes; others are names of columns, which keep their letters
WORDS = ("not", "no", "closed", "the", "little", "sparse", "demand")


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


def describe_doubts(history: pd.DataFrame, forecast: pd.DataFrame) -> list[str]:
    """Return notes on series with few values, and on those without demand on most days.

    Args:
        history: canonical.
        forecast: as `Forecaster.predict` returns it.
    """
    known = history[history["series_id"].isin(forecast["series_id"].unique())]
    return _describe_little(known) + _describe_sparse(known) + _describe_rare(known, forecast)


def _describe_little(history: pd.DataFrame) -> list[str]:
    """Return a note on the series of which little is known."""
    known = history.groupby("series_id", sort=False)["value"].count()
    few = known[known < FEW_DAYS]
    if few.empty:
        return []
    shown = _list_shares({name: f"{count}" for name, count in few.items()})
    return [
        f"little is known of {shown}: fewer than {FEW_DAYS} values, so these forecasts rest "
        "on what other series teach, and their intervals are rough"
    ]


def _describe_sparse(history: pd.DataFrame) -> list[str]:
    """Return a note on series with no demand on most days."""
    values = history.dropna(subset="value").groupby("series_id", sort=False)["value"]
    zeros = values.apply(lambda column: (column == 0).mean())
    sparse = zeros[(zeros > SPARSE) & (values.max() > 0) & (values.min() >= 0)]
    if sparse.empty:
        return []
    shown = _list_shares({name: f"{100 * share:.0f} %" for name, share in sparse.items()})
    return [
        f"sparse demand, with 0 on most days: {shown}. The median of such a day says little; "
        "use `mean`, or totals over weeks (TOTALS=7,28)"
    ]


def _describe_rare(history: pd.DataFrame, forecast: pd.DataFrame) -> list[str]:
    """Return a note on series whose demand is so rare that even the mean falls short of it."""
    values = history.dropna(subset="value").groupby("series_id", sort=False)["value"]
    seen = values.apply(lambda column: column.tail(LAST_DAYS).mean())
    zeros = values.apply(lambda column: (column.tail(LAST_DAYS) == 0).mean())
    expected = forecast.groupby("series_id", sort=False)["mean"].mean().reindex(seen.index)
    rare = seen[(zeros > RARE) & (values.min() >= 0) & (expected < seen / 2)]
    if rare.empty:
        return []
    return [
        f"demand on fewer than one day in {round(1 / (1 - RARE))}, which quantiles do not see: "
        f"{_list_shares({name: f'{mean:.3g} a day' for name, mean in rare.items()})} in the last "
        "year, more than twice the mean of the forecast. Plan by what was seen"
    ]


def _list_shares(facts: Mapping[Hashable, str]) -> str:
    """Return the first names with a fact behind each, for a sentence."""
    shown = [f"{name!r} ({fact})" for name, fact in facts.items()][:MAX_NAMES]
    more = f" and {len(facts) - MAX_NAMES} others" if len(facts) > MAX_NAMES else ""
    return ", ".join(shown) + more


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
