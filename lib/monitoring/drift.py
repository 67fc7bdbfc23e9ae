"""Whether the data a model is given still looks like the data it learned from.

Days of a series are alike, seasons differ and years differ, so the p-value of an ordinary
two-sample test would alarm all the time. What counts here is how much a window of days differs
from the same season of the reference, *compared with how much windows of the reference itself
differ from the same season of its other years*. Autocorrelation, dependence between series and the
changes that are usual are all in that comparison, and nothing is assumed independent. What looks
like the reference's last days is no drift either: a model that was judged on days after a change
knows the world after it, though no earlier year shows it. And a service that is asked of some
weekdays or series only is compared with those of the reference: Mondays are not like a week.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib.features import FEATURES
from lib.monitoring.drift_reference import (
    LEVEL,
    SOFT,
    DriftReference,
    comparable,
    in_season,
    part_of,
    require,
)
from lib.monitoring.drift_statistics import FEWEST, effects_of, holm, population_stability
from lib.monitoring.results import Result, consecutive_flags, first_detected

CALENDAR = FEATURES[:4]
BOUNDS = {**dict.fromkeys(CALENDAR, (-1.0, 1.0)), "evento_especial": (0.0, 1.0)}
_LEVEL_FACTOR = 3.0  # a level this far outside its range is another unit, not a trend
_OUTSIDE = 0.05  # share of values that may be out of range
_MISSING = 0.10  # share missing beyond the worst window of the reference


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


def detect_drift(
    reference: DriftReference,
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
    require(live, "date", *FEATURES)
    dates = live["date"].to_numpy().astype("datetime64[D]")
    first = last - reference.days + 1
    window = live[(dates >= first) & (dates <= last)]
    reference, window = part_of(reference, window)
    season, matched = in_season(reference, last)
    features = _judge(reference, window, season, alpha=alpha, min_effect=min_effect)
    lasting = consecutive_flags([f.feature for f in features if f.flags], str(last), previous)
    alarms = tuple(name for name, count in lasting.items() if count >= checks)
    judged = bool(reference.usual) and len(window) >= FEWEST
    since = first_detected([str(last)] if lasting else [], lasting, previous)
    return Drift(str(first), str(last), matched, judged, features, lasting, alarms, since)


def _judge(
    reference: DriftReference,
    window: pd.DataFrame,
    season: np.ndarray,
    *,
    alpha: float,
    min_effect: float,
) -> tuple[FeatureDrift, ...]:
    """All features of a window, held against rows of the season and the reference's last days."""
    columns = comparable(window)
    newest = reference.dates > reference.dates.max() - reference.days
    compared = {
        name: min(
            (_against(reference, name, columns[name], rows) for rows in (season, newest)),
            key=lambda found: found[-1] if math.isfinite(found[-1]) else math.inf,
        )
        for name in FEATURES
    }
    p_values = np.array([_tail(score) for *_, score in compared.values()])
    outside = _outside(reference, columns, window)
    features = []
    for i, (name, p_adjusted) in enumerate(zip(FEATURES, holm(p_values), strict=True)):
        now, (before, ks, wasserstein, score) = columns[name], compared[name]
        psi = population_stability(now, before)
        missing = float(np.isnan(now).mean()) if len(now) else np.nan
        enough = len(now) >= FEWEST
        flags = {
            "distribution": enough and p_adjusted < alpha and psi >= min_effect,
            "missing": enough and missing > reference.missing[name] + _MISSING,
            "range": enough and outside[name] > _OUTSIDE,
        }
        features.append(
            FeatureDrift(
                feature=name,
                values=int(np.isfinite(now).sum()),
                reference_values=int(np.isfinite(before).sum()),
                ks=ks,
                wasserstein=wasserstein,
                psi=psi,
                score=score,
                p_value=float(p_values[i]),
                p_adjusted=float(p_adjusted),
                missing=missing,
                missing_reference=float(np.isnan(before).mean()) if len(before) else np.nan,
                outside=outside[name],
                flags=tuple(flag for flag, up in flags.items() if up),
            )
        )
    return tuple(features)


def _tail(score: float) -> float:
    """Probability of a score at least as high, doubled: it is the larger of two effects'."""
    return min(1.0, math.erfc(score / math.sqrt(2))) if math.isfinite(score) else np.nan


def _against(
    reference: DriftReference, name: str, now: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, float, float, float]:
    """A feature beside some rows of the reference: those, KS, Wasserstein, and their score."""
    before = reference.columns[name][rows]
    effects = effects_of(now, before)
    score = np.nan
    if name in reference.usual:
        mean, spread = reference.usual[name]
        score = float(((np.log(np.array(effects) + SOFT) - mean) / spread).max())
    return before, *effects, score


def _outside(
    reference: DriftReference, columns: Mapping[str, np.ndarray], live: pd.DataFrame
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


def _level_outside(reference: DriftReference, level: np.ndarray, live: pd.DataFrame) -> float:
    if "series_id" not in live or not len(live):
        return 0.0
    bounds = [reference.levels.get(name) for name in live["series_id"].astype("str")]
    low = np.array([b[0] / _LEVEL_FACTOR if b else np.nan for b in bounds])
    high = np.array([b[1] * _LEVEL_FACTOR if b else np.nan for b in bounds])
    judged = np.isfinite(level) & (low > 0)  # a level of zero or below has no factor
    out = (level < low) | (level > high)
    return float(out[judged].mean()) if judged.any() else 0.0
