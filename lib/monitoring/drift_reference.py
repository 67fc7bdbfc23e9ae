"""The reference for drift: what is usual in the data that a model learned from.

The model scales each window by itself, so a trend is nothing new to it. Features in units of the
series are therefore compared relative to `media_movel_30` of the same day, which also makes the
check blind to units; the level itself is only compared with its range in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lib.data import as_categories, day_of_year, weekday_of
from lib.features import FEATURES
from lib.monitoring.drift_statistics import category_effect, effects_of

LEVEL = "media_movel_30"
HAS_COVARIATES = "has_covariates"  # column of live rows: whether one has the newest covariates
RELATIVE = ("media_movel_7", "desvio_movel_7", "lag_1", "lag_7")
TESTED = (*RELATIVE, "fator_externo", "evento_especial")
SOFT = 0.02  # added to an effect before its logarithm
WINDOWS = 6  # disjoint windows the reference needs before anything is usual in it
_STEP = 7  # days between windows of the reference
_SLACK = 7  # days around the season that belong to it
_APART = 30  # days around a window of the reference that are not "another time"
_SELDOM = 0.25  # of the rows of the most frequent weekday, below which a weekday is an exception


@dataclass(frozen=True)
class DriftReference:
    """A reference, and what is usual in it. Built once, used for many windows.

    Attributes:
        days: window length.
        dates: (N,) datetime64[D].
        series: (N,) names.
        columns: comparable columns, (N,) each.
        labels: of the covariates that are categories; their columns hold positions in these.
        weekdays: how many of them there are among the dates.
        usual: mean and standard deviation of log effects by feature, (2, 2): KS and Wasserstein.
        missing: largest share missing in a window, by feature.
        levels: lowest and highest level, by series_id.
        parts: references of some weekdays and series, built when they are needed.
    """

    days: int
    dates: np.ndarray
    series: np.ndarray
    columns: Mapping[str, np.ndarray]
    labels: Mapping[str, tuple[str, ...]]
    weekdays: int
    usual: Mapping[str, np.ndarray] = field(repr=False)
    missing: Mapping[str, float] = field(repr=False)
    levels: Mapping[str, tuple[float, float]] = field(repr=False)
    parts: dict[tuple[str, ...], DriftReference] = field(default_factory=dict, repr=False)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the columns beside the eleven features."""
        return tuple(name for name in self.columns if name not in FEATURES)

    def measure_effects(
        self, name: str, sample: np.ndarray, reference: np.ndarray
    ) -> tuple[float, float]:
        """Return the two effect sizes of a column between two samples."""
        return _measure_effects(sample, reference, self.labels.get(name))


def build_reference(
    reference: pd.DataFrame,
    days: int = 21,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> DriftReference:
    """Measure what is usual in a model's reference.

    Args:
        reference: `reference.parquet` of the model: date, series_id, the eleven features, and
            covariates.
        days: length of the windows that will be compared with it.
        categories: that the model has learned, by covariate: a rare one may be in none of the rows.

    Raises:
        ValueError: columns are missing; the message names them.
    """
    require(reference)
    dates = reference["date"].to_numpy().astype("datetime64[D]")
    series = reference["series_id"].astype("str").to_numpy(dtype=object)
    labels = _labels_of(reference, categories or {})
    return _profile(days, dates, series, comparable(reference, labels), labels)


def _profile(
    days: int,
    dates: np.ndarray,
    series: np.ndarray,
    columns: Mapping[str, np.ndarray],
    labels: Mapping[str, tuple[str, ...]],
) -> DriftReference:
    covariates = [name for name in columns if name not in FEATURES]
    effects: dict[str, list[tuple[float, float]]] = {n: [] for n in (*TESTED, *covariates)}
    missing = dict.fromkeys(columns, 0.0)
    weekdays = len(np.unique(weekday_of(dates)))
    whole = int((dates.max() - dates.min()).astype(np.int64)) + 1 if len(dates) else 0
    origins = dates.min() + np.arange(days - 1, whole, _STEP) if len(dates) else []
    for end in origins:
        window = (dates > end - days) & (dates <= end)
        if not window.any():
            continue
        for name in columns:
            share = float(np.isnan(columns[name][window]).mean())
            missing[name] = max(missing[name], share)
        others, _ = _season(dates, end, days, weekdays, apart=True)
        for name in effects:
            column = columns[name]
            pair = _measure_effects(column[window], column[others], labels.get(name))
            if np.isfinite(pair).all():
                effects[name].append(pair)
    usual = {
        name: _usual(np.array(pairs), len(pairs) * _STEP / days)
        for name, pairs in effects.items()
        if len(pairs) * _STEP >= WINDOWS * days
    }
    level = pd.Series(columns[LEVEL]).groupby(series)
    low, high = level.min(), level.max()
    levels = {
        str(name): (float(low[name]), float(high[name]))
        for name in low.index
        if np.isfinite(low[name])
    }
    return DriftReference(days, dates, series, columns, labels, weekdays, usual, missing, levels)


def _measure_effects(
    sample: np.ndarray, reference: np.ndarray, labels: tuple[str, ...] | None
) -> tuple[float, float]:
    if labels is None:
        return effects_of(sample, reference)
    effect = category_effect(sample, reference, len(labels))
    return effect, effect


def part_of(reference: DriftReference, live: pd.DataFrame) -> tuple[DriftReference, pd.DataFrame]:
    """Select the weekdays and series of a reference that occur in live rows.

    Series that the reference does not know are compared with all of it.

    Returns:
        The reference of these weekdays and series, and the live rows of these weekdays.
    """
    if not len(live) or not len(reference.dates):
        return reference, live
    days = weekday_of(live["date"].to_numpy())
    counts = np.bincount(days, minlength=7)
    is_served = counts >= max(1, _SELDOM * counts.max())
    names = set(live["series_id"].astype("str")) if "series_id" in live else set()
    if not names or not names <= reference.levels.keys():
        names = set(reference.levels)
    if is_served.all() and len(names) == len(reference.levels):
        return reference, live
    key = (str(is_served.tolist()), *sorted(names))
    if key not in reference.parts:
        rows = is_served[weekday_of(reference.dates)]
        rows &= pd.Series(reference.series).isin(names).to_numpy()
        columns = {name: column[rows] for name, column in reference.columns.items()}
        reference.parts.clear()  # one is enough: what is served changes seldom
        reference.parts[key] = _profile(
            reference.days, reference.dates[rows], reference.series[rows], columns,
            reference.labels,
        )  # fmt: skip
    return reference.parts[key], live[is_served[days]]


def in_season(reference: DriftReference, last: np.datetime64) -> tuple[np.ndarray, bool]:
    """Return the rows of the reference in the season of a window up to `last`, (N,) bool.

    And whether the reference has that season: otherwise these are all its rows.
    """
    return _season(reference.dates, last, reference.days, reference.weekdays, apart=False)


def comparable(table: pd.DataFrame, labels: Mapping[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Return the eleven features without units, (rows,) each: divided by the level of their day.

    A level of zero or below gives NaN; the level itself, the calendar, the factor, the events and
    covariates stay as they are. Categories are positions in their labels, those that are not among
    them the number of labels.

    Args:
        table: the eleven features in raw units, and covariates.
        labels: of the covariates that are categories.
    """
    columns = {name: table[name].to_numpy(np.float64) for name in FEATURES}
    level = np.where(columns[LEVEL] > 0, columns[LEVEL], np.nan)
    columns |= {name: columns[name] / level for name in RELATIVE}
    for name in _covariates_of(table):
        if name in labels:
            columns[name] = _encode(table[name], labels[name])
        else:
            columns[name] = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
    return columns


def _covariates_of(table: pd.DataFrame) -> list[str]:
    others = ("date", "series_id", HAS_COVARIATES, *FEATURES)
    return [str(name) for name in table.columns if name not in others]


def _labels_of(
    table: pd.DataFrame, learned: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the categories of the covariates that are text, in alphabetical order."""
    names = [n for n in _covariates_of(table) if not pd.api.types.is_numeric_dtype(table[n])]
    return {
        name: tuple(sorted({*map(str, table[name].dropna()), *learned.get(name, ())}))
        for name in names
    }


def _encode(column: pd.Series, labels: tuple[str, ...]) -> np.ndarray:
    text = as_categories(column)
    places = pd.Index(labels, dtype="str").get_indexer(pd.Index(text))
    codes = np.where(places < 0, len(labels), places).astype(np.float64)
    return np.where(text.isna(), np.nan, codes)


def _usual(effects: np.ndarray, windows: float) -> np.ndarray:
    """Return mean and predictive standard deviation of log effects: (n, 2) to (2, 2)."""
    logs = np.log(effects + SOFT)
    spread = logs.std(axis=0) * math.sqrt(1 + 1 / windows)
    return np.stack([logs.mean(axis=0), np.maximum(spread, 0.1)])


def _season(
    dates: np.ndarray, end: np.datetime64, days: int, weekdays: int, *, apart: bool
) -> tuple[np.ndarray, bool]:
    """Return the rows of the same season as the window up to `end`, and whether there are any.

    Where the reference has less than a window of it, all its days stand in. `apart` leaves out the
    days around the window itself.
    """
    middle = end - days // 2
    other = np.ones(len(dates), dtype=bool)
    if apart:
        other = np.abs((dates - middle).astype(np.int64)) > days + _APART
    gap = np.abs((day_of_year(dates) - day_of_year(middle) + 183) % 365.25 - 183)
    season = other & (gap <= days // 2 + _SLACK)
    matched = len(np.unique(dates[season])) >= max(1, days * weekdays // 7)
    return (season if matched else other), matched


def require(table: pd.DataFrame, *names: str) -> None:
    """Raise ValueError naming the columns that are missing (default: those of a reference)."""
    missing = [n for n in names or ("date", "series_id", *FEATURES) if n not in table.columns]
    if missing:
        raise ValueError(f"features for drift: columns {missing} are missing")
