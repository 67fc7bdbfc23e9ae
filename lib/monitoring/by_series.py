"""Error and coverage by series, worst first, and by group of series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.files import to_json
from lib.monitoring.results import Result
from lib.monitoring.scored_forecasts import ScoredForecasts, find_scored, select_scored

WORST = 10  # series that a report names
_GROUPS = 50  # that a report names, largest first
_HISTORY_DAYS = 28  # of a series that are drawn


class GroupsError(ValueError):
    """The table of groups cannot be used; the message names the file and what is expected."""


@dataclass(frozen=True)
class PartScore(Result):
    """The accuracy of the forecasts of one series, or of one group of series.

    Attributes:
        name: of the series, or of the group, such as "region: north".
        series: how many there are in it.
        forecasts: that came true.
        mae: in units of the series.
        wape: per cent.
        bias: mean of forecast less actual.
        mase: the error beside the scale of the series, by which series are compared; NaN where
            that is unknown.
        coverage: share inside the 80 % interval.
    """

    name: str
    series: int
    forecasts: int
    mae: float
    wape: float
    bias: float
    mase: float
    coverage: float


def score_series(
    forecasts: pd.DataFrame, first: np.datetime64, last: np.datetime64, *, most: int = WORST
) -> tuple[PartScore, ...]:
    """Score each series over the target days `first` to `last`, and return the worst, in order.

    Args:
        forecasts: rows of `join_actuals`.
        first: first target day.
        last: last target day.
        most: how many to return.
    """
    rows = select_scored(forecasts, first, last)
    names = _names_of(forecasts, first, last)
    scores = [] if not len(rows.actual) else _score_parts(rows, rows.series, names)
    return tuple(sorted(scores, key=_badness)[:most])


def score_groups(
    forecasts: pd.DataFrame,
    groups: pd.DataFrame | None,
    first: np.datetime64,
    last: np.datetime64,
) -> tuple[PartScore, ...]:
    """Score groups of series over the target days `first` to `last`, worst first.

    Args:
        forecasts: rows of `join_actuals`.
        groups: one row a series: series_id, and a column for each way to group them; None without.
        first: first target day.
        last: last target day.
    """
    if groups is None:
        return ()
    rows, names = select_scored(forecasts, first, last), _names_of(forecasts, first, last)
    if not len(rows.actual):
        return ()
    table = groups.set_index("series_id").reindex(pd.Index(names))
    scores: list[PartScore] = []
    for column in table.columns:
        codes, values = pd.factorize(table[column])
        part = codes[rows.series]
        known = np.flatnonzero(part >= 0)
        labels = [f"{column}: {value}" for value in values]
        if len(known):
            scores += _score_parts(rows.select(known), part[known], labels)
    largest = sorted(scores, key=lambda one: -one.forecasts)[:_GROUPS]
    return tuple(sorted(largest, key=_badness))


def load_groups(path: str) -> pd.DataFrame | None:
    """Read the groups of series: CSV or Parquet, series_id and a column a way; None for "".

    Raises:
        GroupsError: there is no such file, or it has no series_id and a further column.
    """
    if not path:
        return None
    try:
        is_parquet = Path(path).suffix == ".parquet"
        table = pd.read_parquet(path) if is_parquet else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise GroupsError(f"MONITOR_GROUPS: {path} cannot be read: {error}") from error
    if "series_id" not in table or len(table.columns) < 2:
        raise GroupsError(
            f"MONITOR_GROUPS: {path} has the columns {list(table.columns)}; expected series_id and "
            "one column or more by which series are grouped"
        )
    return table.astype({"series_id": "str"}).drop_duplicates("series_id", keep="last")


def draw_history(
    forecasts: pd.DataFrame, names: Sequence[str], last: np.datetime64
) -> dict[str, list[dict[str, Any]]]:
    """Return what draws the last weeks of some series: a list of days by name, for JSON.

    Each day has the last forecast that was made of it: date, actual, median, lower and upper (of
    the 80 % interval).
    """
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    recent = (date > last - _HISTORY_DAYS) & (date <= last)
    chosen = forecasts[recent & forecasts["series_id"].isin(list(names)).to_numpy()]
    newest = chosen.sort_values("horizon", kind="stable").drop_duplicates(["series_id", "date"])
    columns = {"actual": "actual", "median": "q0.5", "lower": "q0.1", "upper": "q0.9"}
    drawn: dict[str, list[dict[str, Any]]] = {str(name): [] for name in names}
    for row in newest.sort_values("date").to_dict("records"):
        day = {"date": str(np.datetime64(row["date"], "D"))}
        day |= {name: to_json(row.get(column, np.nan)) for name, column in columns.items()}
        drawn[str(row["series_id"])].append(day)
    return drawn


def _names_of(forecasts: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> list[str]:
    """Return the names of the series by their number in `select_scored`."""
    chosen = forecasts[find_scored(forecasts, first, last)]
    return [str(name) for name in pd.factorize(chosen["series_id"])[1]]


def _score_parts(rows: ScoredForecasts, part: np.ndarray, names: Sequence[str]) -> list[PartScore]:
    """Score each part; `part` is (n,) its number, which `names` has a name for."""
    error = rows.point - rows.actual
    size, known = np.abs(error), np.isfinite(rows.lower) & np.isfinite(rows.upper)
    covered = known & (rows.actual >= rows.lower) & (rows.actual <= rows.upper)
    scaled = np.divide(size, rows.scale, where=rows.scale > 0, out=np.full(len(size), np.nan))
    has_scale = np.isfinite(scaled)
    count = np.bincount(part, minlength=len(names))

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(part, values, minlength=len(names))

    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "mae": total(size) / count,
            "wape": 100 * total(size) / total(np.abs(rows.actual)),
            "bias": total(error) / count,
            "mase": total(np.where(has_scale, scaled, 0.0)) / total(1.0 * has_scale),
            "coverage": total(1.0 * covered) / total(1.0 * known),
        }
    members = {number: len(np.unique(rows.series[part == number])) for number in np.unique(part)}
    return [
        PartScore(
            name=names[number],
            series=series,
            forecasts=int(count[number]),
            **{name: float(values[number]) for name, values in columns.items()},
        )
        for number, series in members.items()
    ]


def _badness(score: PartScore) -> tuple[float, float, str]:
    """Order scores, worst first; those without a scale last."""
    values = (score.mase, score.wape)
    mase, wape = (-value if np.isfinite(value) else np.inf for value in values)
    return mase, wape, score.name
