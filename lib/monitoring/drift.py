"""Drift: whether the data of a window of days still look like those the model learned from.

Days of a series are alike, seasons differ and years differ, so the p-value of an ordinary
two-sample test would alarm all the time. What counts here is how much a window of days differs
from the same season of the reference, *compared with how much windows of the reference itself
differ from the same season of its other years*. Autocorrelation, dependence between series and
usual changes are all in that comparison, and nothing is assumed independent.

A window like the reference's last days is no drift either: a model that learned from days after a
change knows the world after it, though no earlier year shows it. A service whose requests are of
some weekdays or series only is compared with those of the reference: Mondays are not like a week.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lib.features import FEATURES
from lib.monitoring.drift_reference import (
    HAS_COVARIATES,
    LEVEL,
    RELATIVE,
    SOFT,
    DriftReference,
    comparable,
    in_season,
    part_of,
    require,
)
from lib.monitoring.drift_shift import Shift, describe_categories, describe_numbers
from lib.monitoring.drift_statistics import (
    FEWEST,
    category_stability,
    holm,
    population_stability,
)
from lib.monitoring.results import Result, consecutive_flags, first_detected, json_name

CALENDAR = FEATURES[:4]
BOUNDS = {**dict.fromkeys(CALENDAR, (-1.0, 1.0)), "evento_especial": (0.0, 1.0)}
_UNITLESS = (*CALENDAR, *RELATIVE, LEVEL)  # of which a mean says nothing to people
_LEVEL_FACTOR = 3.0  # a level this far outside its range is another unit, not a trend
_OUTSIDE = 0.05  # share of values that may be out of range
_MISSING = 0.10  # share missing beyond the worst window of the reference


@dataclass(frozen=True)
class FeatureDrift(Result):
    """One feature or covariate in one window.

    Attributes:
        ks: effect size, Kolmogorov-Smirnov's distance.
        wasserstein: effect size, in widths of the reference (10th to 90th percentile). Of a
            category both are the share of days that is in another one.
        psi: effect size, population stability index.
        score: standard deviations of the logarithm of the larger of `ks` and `wasserstein` above
            what is usual between windows of the reference.
        p_value: tail of the score; `p_adjusted` with Holm's correction over the features.
        missing: share of values; `missing_reference` that of the reference.
        outside: share of values outside the range of the reference, or in unknown categories.
        flags: of "distribution", "missing", "range", "unknown" (categories).
        shift: what has moved, in the units of the feature; None for a feature without units of its
            own.
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
    shift: Shift | None = None


@dataclass(frozen=True)
class Drift(Result):
    """All features of a window of days.

    Attributes:
        matched: whether the reference has that season.
        judged: whether the reference is long enough to know what is usual; otherwise only range
            and missing values are checked.
        consecutive_flags: in how many consecutive checks each feature was flagged.
        alarms: features that were flagged for long enough.
        first_detected: last day of the first of these checks, "" where nothing is flagged.
    """

    first: str
    last: str
    matched: bool
    judged: bool
    features: tuple[FeatureDrift, ...]
    consecutive_flags: Mapping[str, int] = field(metadata=json_name("streaks"))
    alarms: tuple[str, ...]
    first_detected: str = field(default="", metadata=json_name("since"))

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
        reference: what is usual in the data the model learned from.
        live: date, the eleven features in raw units, and series_id and covariates where known:
            one row for the last known day of each forecast. Rows in which HAS_COVARIATES is False
            say nothing about covariates.
        last: last day of the window.
        alpha: probability of flagging any distribution of a window that is like the reference.
        min_effect: smallest PSI worth flagging.
        checks: for how many consecutive checks a feature must be flagged before it alarms.
        previous: the result of the check before this one.
    """
    require(live, "date", *FEATURES)
    dates = live["date"].to_numpy().astype("datetime64[D]")
    first = last - reference.days + 1
    window = live[(dates >= first) & (dates <= last)]
    reference, window = part_of(reference, window)
    season, matched = in_season(reference, last)
    features = _compare_features(reference, window, season, alpha=alpha, min_effect=min_effect)
    lasting = consecutive_flags([f.feature for f in features if f.flags], str(last), previous)
    alarms = tuple(name for name, count in lasting.items() if count >= checks)
    judged = bool(reference.usual) and len(window) >= FEWEST
    detected = first_detected([str(last)] if lasting else [], lasting, previous)
    return Drift(str(first), str(last), matched, judged, features, lasting, alarms, detected)


def _compare_features(
    reference: DriftReference,
    window: pd.DataFrame,
    season: np.ndarray,
    *,
    alpha: float,
    min_effect: float,
) -> tuple[FeatureDrift, ...]:
    """Compare all features of a window with the reference, and flag those that differ.

    `season` are the rows of the reference in the season of the window, (N,) bool. The smaller
    difference counts, to the season or to the last days of the reference.
    """
    columns = comparable(window, reference.labels)
    cells = {
        name: window[name].to_numpy(dtype=object) for name in reference.labels if name in window
    }
    names = (*FEATURES, *(name for name in reference.covariates if name in columns))
    if HAS_COVARIATES in window:
        rows = window[HAS_COVARIATES].to_numpy(bool)
        columns |= {name: columns[name][rows] for name in names if name not in FEATURES}
        cells = {name: column[rows] for name, column in cells.items()}
        names = names if rows.any() else FEATURES
    newest = reference.dates > reference.dates.max() - reference.days
    compared = {
        name: min(
            (_compare(reference, name, columns[name], rows) for rows in (season, newest)),
            key=lambda one: one.score if math.isfinite(one.score) else math.inf,
        )
        for name in names
    }

    def describe(name: str, now: np.ndarray, before: np.ndarray) -> Shift:
        if name in reference.labels:
            return describe_categories(now, before, reference.labels[name], cells[name])
        return describe_numbers(now, before, is_event=_is_event(name, reference.columns[name]))

    p_values = np.array([_tail(compared[name].score) for name in names])
    outside = _outside(reference, {name: columns[name] for name in names}, window)
    features = []
    for name, p_value, p_adjusted in zip(names, p_values, holm(p_values), strict=True):
        values, one = columns[name], compared[name]
        labels = reference.labels.get(name)
        if labels is None:
            psi = population_stability(values, one.reference)
        else:
            psi = category_stability(values, one.reference, len(labels))
        missing = float(np.isnan(values).mean()) if len(values) else np.nan
        flags = {
            "distribution": p_adjusted < alpha and psi >= min_effect,
            "missing": missing > reference.missing[name] + _MISSING,
            "range" if labels is None else "unknown": outside[name] > _OUTSIDE,
        }
        is_enough = len(values) >= FEWEST
        features.append(
            FeatureDrift(
                feature=name,
                values=int(np.isfinite(values).sum()),
                reference_values=int(np.isfinite(one.reference).sum()),
                ks=one.ks,
                wasserstein=one.wasserstein,
                psi=psi,
                score=one.score,
                p_value=float(p_value),
                p_adjusted=float(p_adjusted),
                missing=missing,
                missing_reference=float(np.isnan(one.reference).mean())
                if len(one.reference)
                else np.nan,
                outside=outside[name],
                flags=tuple(flag for flag, up in flags.items() if is_enough and up),
                shift=None if name in _UNITLESS else describe(name, values, one.reference),
            )
        )
    return tuple(features)


def _is_event(name: str, column: np.ndarray) -> bool:
    """Tell whether a column holds events, whose mean is a rate."""
    known = column[np.isfinite(column)]
    return name == "evento_especial" or bool(len(known) and np.isin(known, (0.0, 1.0)).all())


@dataclass(frozen=True)
class _Comparison:
    """A feature beside rows of the reference, (n,) values: two effect sizes and their score."""

    reference: np.ndarray
    ks: float
    wasserstein: float
    score: float


def _compare(
    reference: DriftReference, name: str, values: np.ndarray, rows: np.ndarray
) -> _Comparison:
    """Compare values of a feature with some rows of the reference."""
    before = reference.columns[name][rows]
    ks, wasserstein = reference.measure_effects(name, values, before)
    score = np.nan
    if name in reference.usual:
        mean, spread = reference.usual[name]
        score = float(((np.log(np.array([ks, wasserstein]) + SOFT) - mean) / spread).max())
    return _Comparison(before, ks, wasserstein, score)


def _tail(score: float) -> float:
    """Return the probability of such a score or a higher one, doubled for two effects."""
    return min(1.0, math.erfc(score / math.sqrt(2))) if math.isfinite(score) else np.nan


def _outside(
    reference: DriftReference, columns: Mapping[str, np.ndarray], live: pd.DataFrame
) -> dict[str, float]:
    """Return the share of the values that are out of range, by feature."""
    shares = {}
    for name, values in columns.items():
        if name in reference.labels:
            known = values[np.isfinite(values)]
            is_unknown = known == len(reference.labels[name])
            shares[name] = float(is_unknown.mean()) if len(known) else 0.0
            continue
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
