"""Whether the data a model is given still looks like the data it learned from.

Days of a series are alike, seasons differ and years differ, so the p-value of an ordinary
two-sample test would alarm all the time. What counts here is how much a window of days differs
from the same season of the reference, *compared with how much windows of the reference itself
differ from the same season of its other years*. Autocorrelation, dependence between series and the
changes that are usual are all in that comparison, and nothing is assumed independent. What looks
like the reference's last days is no drift either: a model that was judged on days after a change
knows the world after it, though no earlier year shows it. And a service that is asked of some
weekdays or series only is compared with those of the reference: Mondays are not like a week.

The model scales each window by itself, so a trend is nothing new to it. Features in units of the
series are therefore compared relative to `media_movel_30` of the same day, which also makes the
check blind to units; the level itself is only held against the range it had in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lib.checks import Result, began, streaks
from lib.drift_effects import FEWEST, effects_of, holm, population_stability
from lib.features import FEATURES

LEVEL = "media_movel_30"
RELATIVE = ("media_movel_7", "desvio_movel_7", "lag_1", "lag_7")
CALENDAR = FEATURES[:4]
TESTED = (*RELATIVE, "fator_externo", "evento_especial")
BOUNDS = {**dict.fromkeys(CALENDAR, (-1.0, 1.0)), "evento_especial": (0.0, 1.0)}

WINDOWS = 6  # disjoint windows the reference needs before anything is usual in it
_STEP = 7  # days between windows of the reference
_SLACK = 7  # days around the season that belong to it
_APART = 30  # days around a window of the reference that are not "another time"
_LEVEL_FACTOR = 3.0  # a level this far outside its range is another unit, not a trend
_OUTSIDE = 0.05  # share of values that may be out of range
_MISSING = 0.10  # share missing beyond the worst window of the reference
_SOFT = 0.02  # added to an effect before its logarithm
_SELDOM = 0.25  # of the rows of the weekday most asked of, below which a weekday is an exception


@dataclass(frozen=True)
class FeatureDrift(Result):
    """One feature in one window. `ks` and `wasserstein` are effect sizes, as `psi` is.

    `wasserstein` is in widths of the reference (10th to 90th percentile); `score` says how many
    standard deviations the logarithm of the larger effect is above what windows of the reference
    show; `p_adjusted` is its tail, Holm's correction over the features applied. `missing` and
    `outside` (of the range) are shares. `flags`: "distribution", "missing", "range".
    """

    feature: str
    values: int
    reference_values: int
    ks: float
    wasserstein: float
    psi: float
    score: float
    p_value: float
    p_adjusted: float
    missing: float
    missing_reference: float
    outside: float
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Drift(Result):
    """All features of a window of days.

    `matched` says whether the reference has that season; `judged` whether it is long enough to
    know what is usual (otherwise only range and missing values are checked); `streaks` counts the
    checks that each feature has been flagged in a row, `alarms` those flagged for long enough;
    `since` is the last day of the first of these checks, "" where nothing is flagged.
    """

    first: str
    last: str
    matched: bool
    judged: bool
    features: tuple[FeatureDrift, ...]
    streaks: Mapping[str, int]
    alarms: tuple[str, ...]
    since: str = ""

    @property
    def alarm(self) -> bool:
        """Whether any feature alarms."""
        return bool(self.alarms)


@dataclass(frozen=True)
class Profile:
    """A reference, and what is usual in it. Made once by `profile`, used for many windows.

    Attributes:
        days: window length.
        dates: (N,) datetime64[D].
        series: (N,) names.
        columns: comparable columns, (N,) each.
        weekdays: how many of them there are among the dates.
        usual: feature → mean and standard deviation of log effects, (2, 2): KS and Wasserstein.
        missing: feature → largest share missing in a window.
        levels: series_id → lowest and highest level.
    """

    days: int
    dates: np.ndarray
    series: np.ndarray
    columns: Mapping[str, np.ndarray]
    weekdays: int
    usual: Mapping[str, np.ndarray] = field(repr=False)
    missing: Mapping[str, float] = field(repr=False)
    levels: Mapping[str, tuple[float, float]] = field(repr=False)
    parts: dict[tuple[str, ...], Profile] = field(default_factory=dict, repr=False)


def profile(reference: pd.DataFrame, days: int = 21) -> Profile:
    """What is usual in a model's reference (`reference.parquet`): date, series_id, the features.

    Raises ValueError naming the columns that are missing.
    """
    _require(reference)
    dates = reference["date"].to_numpy().astype("datetime64[D]")
    series = reference["series_id"].astype("str").to_numpy(dtype=object)
    return _profile(days, dates, series, comparable(reference))


def _profile(
    days: int, dates: np.ndarray, series: np.ndarray, columns: Mapping[str, np.ndarray]
) -> Profile:
    effects: dict[str, list[tuple[float, float]]] = {name: [] for name in TESTED}
    missing = dict.fromkeys(FEATURES, 0.0)
    weekdays = len(np.unique(weekday(dates)))
    whole = int((dates.max() - dates.min()).astype(np.int64)) + 1 if len(dates) else 0
    ends = dates.min() + np.arange(days - 1, whole, _STEP) if len(dates) else []
    for end in ends:
        window = (dates > end - days) & (dates <= end)
        if not window.any():
            continue
        for name in FEATURES:
            share = float(np.isnan(columns[name][window]).mean())
            missing[name] = max(missing[name], share)
        others, _ = _season(dates, end, days, weekdays, apart=True)
        for name in TESTED:
            pair = effects_of(columns[name][window], columns[name][others])
            if np.isfinite(pair).all():
                effects[name].append(pair)
    usual = {
        name: _usual(np.array(found), len(found) * _STEP / days)
        for name, found in effects.items()
        if len(found) * _STEP >= WINDOWS * days
    }
    level = pd.Series(columns[LEVEL]).groupby(series)
    low, high = level.min(), level.max()
    levels = {
        str(name): (float(low[name]), float(high[name]))
        for name in low.index
        if np.isfinite(low[name])
    }
    return Profile(days, dates, series, columns, weekdays, usual, missing, levels)


def part_of(reference: Profile, live: pd.DataFrame) -> tuple[Profile, pd.DataFrame]:
    """The weekdays and series of a reference that live rows are of; and the rows of these weekdays.

    Series that the reference does not know are like any of it.
    """
    if not len(live) or not len(reference.dates):
        return reference, live
    days = weekday(live["date"].to_numpy().astype("datetime64[D]"))
    counts = np.bincount(days, minlength=7)
    asked = counts >= max(1, _SELDOM * counts.max())
    names = set(live["series_id"].astype("str")) if "series_id" in live else set()
    if not names or not names <= reference.levels.keys():
        names = set(reference.levels)
    if asked.all() and len(names) == len(reference.levels):
        return reference, live
    key = (str(asked.tolist()), *sorted(names))
    if key not in reference.parts:
        rows = asked[weekday(reference.dates)]
        rows &= pd.Series(reference.series).isin(names).to_numpy()
        columns = {name: column[rows] for name, column in reference.columns.items()}
        reference.parts.clear()  # one is enough: what is asked of changes seldom
        reference.parts[key] = _profile(
            reference.days, reference.dates[rows], reference.series[rows], columns
        )
    return reference.parts[key], live[asked[days]]


def drift(
    reference: Profile,
    live: pd.DataFrame,
    *,
    last: np.datetime64,
    alpha: float = 0.001,
    min_effect: float = 0.1,
    checks: int = 3,
    previous: Mapping[str, Any] | Drift | None = None,
) -> Drift:
    """Compare the window of days up to `last` with the reference. Pure.

    Args:
        live: date, the eleven features in raw units, and series_id where known: one row for the
            last known day of each forecast.
        alpha: probability of flagging any distribution of a window that is like the reference.
        min_effect: smallest PSI worth flagging.
        checks: for how many checks in a row a feature must be flagged before it alarms.
        previous: the result of the check before this one.
    """
    _require(live, "date", *FEATURES)
    dates = live["date"].to_numpy().astype("datetime64[D]")
    first = last - reference.days + 1
    window = live[(dates >= first) & (dates <= last)]
    reference, window = part_of(reference, window)
    columns = comparable(window)
    season, matched = _season(
        reference.dates, last, reference.days, reference.weekdays, apart=False
    )
    newest = reference.dates > reference.dates.max() - reference.days
    found = []
    for name in FEATURES:
        now = columns[name]
        before, ks, wasserstein, score = min(
            (_against(reference, name, now, rows) for rows in (season, newest)),
            key=lambda compared: compared[-1] if math.isfinite(compared[-1]) else math.inf,
        )
        # two effects were looked at
        p = min(1.0, math.erfc(score / math.sqrt(2))) if math.isfinite(score) else np.nan
        psi = population_stability(now, before)
        found.append((name, now, before, ks, wasserstein, psi, score, p))
    adjusted = holm(np.array([row[-1] for row in found]))
    outside = _outside(reference, columns, window)
    features = []
    for (name, now, before, ks, wasserstein, psi, score, p), p_adjusted in zip(
        found, adjusted, strict=True
    ):
        missing = float(np.isnan(now).mean()) if len(now) else np.nan
        enough = len(now) >= FEWEST
        flags = {
            "distribution": enough and p_adjusted < alpha and psi >= min_effect,
            "missing": enough and missing > reference.missing[name] + _MISSING,
            "range": enough and outside[name] > _OUTSIDE,
        }
        features.append(
            FeatureDrift(
                name,
                int(np.isfinite(now).sum()),
                int(np.isfinite(before).sum()),
                ks,
                wasserstein,
                psi,
                score,
                p,
                float(p_adjusted),
                missing,
                float(np.isnan(before).mean()) if len(before) else np.nan,
                outside[name],
                tuple(flag for flag, up in flags.items() if up),
            )
        )
    lasting = streaks([f.feature for f in features if f.flags], str(last), previous)
    alarms = tuple(name for name, count in lasting.items() if count >= checks)
    judged = bool(reference.usual) and len(window) >= FEWEST
    since = began([str(last)] if lasting else [], lasting, previous)
    return Drift(str(first), str(last), matched, judged, tuple(features), lasting, alarms, since)


def _against(
    reference: Profile, name: str, now: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, float, float, float]:
    """A feature beside some rows of the reference: those, KS, Wasserstein, and their score."""
    before = reference.columns[name][rows]
    effects = effects_of(now, before)
    score = np.nan
    if name in reference.usual:
        mean, spread = reference.usual[name]
        score = float(((np.log(np.array(effects) + _SOFT) - mean) / spread).max())
    return before, *effects, score


def in_season(reference: Profile, last: np.datetime64) -> np.ndarray:
    """Rows of the reference that a window up to `last` is compared with. → (N,) bool."""
    return _season(reference.dates, last, reference.days, reference.weekdays, apart=False)[0]


def comparable(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The eleven features without units: values divided by the level of their day. (rows,) each.

    A level of zero or below gives NaN; the level itself, the calendar, the factor and the events
    stay as they are.
    """
    columns = {name: table[name].to_numpy(np.float64) for name in FEATURES}
    level = np.where(columns[LEVEL] > 0, columns[LEVEL], np.nan)
    return columns | {name: columns[name] / level for name in RELATIVE}


def _usual(effects: np.ndarray, windows: float) -> np.ndarray:
    """Mean and predictive standard deviation of log effects. (n, 2) → (2, 2)."""
    logs = np.log(effects + _SOFT)
    spread = logs.std(axis=0) * math.sqrt(1 + 1 / windows)
    return np.stack([logs.mean(axis=0), np.maximum(spread, 0.1)])


def _season(
    dates: np.ndarray, end: np.datetime64, days: int, weekdays: int, *, apart: bool
) -> tuple[np.ndarray, bool]:
    """Rows of the same season as the window up to `end`, and whether there are any.

    Where the reference has less than a window of it, all its days stand in. `apart` leaves out the
    days around the window itself.
    """
    middle = end - days // 2
    other = np.ones(len(dates), dtype=bool)
    if apart:
        other = np.abs((dates - middle).astype(np.int64)) > days + _APART
    gap = np.abs((_day_of_year(dates) - _day_of_year(middle) + 183) % 365.25 - 183)
    season = other & (gap <= days // 2 + _SLACK)
    matched = len(np.unique(dates[season])) >= max(1, days * weekdays // 7)
    return (season if matched else other), matched


def weekday(dates: np.ndarray) -> np.ndarray:
    """0 for a Monday, to 6. (n,) → (n,) int."""
    return (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday


def _day_of_year(dates: np.ndarray | np.datetime64) -> np.ndarray:
    return np.asarray(dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(float)


def _outside(
    reference: Profile, columns: Mapping[str, np.ndarray], live: pd.DataFrame
) -> dict[str, float]:
    """Share of the values that are out of range, by feature."""
    shares = {}
    for name in FEATURES:
        values = columns[name]
        if name == LEVEL:
            shares[name] = _level_outside(reference, values, live)
            continue
        low, high = BOUNDS.get(name, (np.nan, np.nan))
        known = reference.columns[name][np.isfinite(reference.columns[name])]
        if name not in BOUNDS and len(known):
            reach = (known.max() - known.min()) / 2
            low, high = known.min() - reach, known.max() + reach
        tolerance = 1e-6 * max(1.0, abs(high - low))
        out = (values < low - tolerance) | (values > high + tolerance)
        shares[name] = float(out[np.isfinite(values)].mean()) if np.isfinite(values).any() else 0.0
    return shares


def _level_outside(reference: Profile, level: np.ndarray, live: pd.DataFrame) -> float:
    if "series_id" not in live or not len(live):
        return 0.0
    bounds = [reference.levels.get(name) for name in live["series_id"].astype("str")]
    low = np.array([b[0] / _LEVEL_FACTOR if b else np.nan for b in bounds])
    high = np.array([b[1] * _LEVEL_FACTOR if b else np.nan for b in bounds])
    judged = np.isfinite(level) & (low > 0)  # a level of zero or below has no factor
    out = (level < low) | (level > high)
    return float(out[judged].mean()) if judged.any() else 0.0


def _require(table: pd.DataFrame, *names: str) -> None:
    missing = [n for n in names or ("date", "series_id", *FEATURES) if n not in table.columns]
    if missing:
        raise ValueError(f"features for drift: columns {missing} are missing")
