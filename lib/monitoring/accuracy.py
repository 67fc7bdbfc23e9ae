"""Accuracy of past forecasts, beside the expected error and the seasonal naive forecast.

Errors are judged relative to the level of the series (WAPE), so that a series that has grown does
not count as degradation. A block of the horizon is degraded where two things hold at once: the
lower 97.5 % confidence bound of its error is more than `max_degradation` above the expected one,
and the upper 97.5 % confidence bound of the coverage of its 80 % interval is `max_coverage_loss`
below the nominal one. Either alone also happens in a turbulent but healthy season. Both are looked
for in the whole window and in its last ten days, which show a change sooner. The bounds are those
of `lib.monitoring.intervals`, from all series of a day together, so that neither days nor
series count as independent. A flag alarms once it has lasted for `checks` checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.evaluation import BLOCKS, mase
from lib.monitoring.plausibility import LARGEST
from lib.monitoring.results import Result, consecutive_flags, first_detected, json_name
from lib.monitoring.scored_forecasts import (
    ScoredForecasts,
    compare_with_naive,
    confidence_bounds,
    daily_totals,
    group_by_block,
    r2_score,
    select_scored,
    wape_and_coverage,
)

ENOUGH = 30  # scored forecasts that an expected error by block, or a judgement, needs
MIN_DAYS = 10  # different target days that a judgement needs
_NOMINAL_COVERAGE = 0.8  # of the interval between q0.1 and q0.9


@dataclass(frozen=True)
class Limits:
    """The largest errors allowed; None is no limit. `mae` and `rmse` in units of the series."""

    max_mae: float | None = None
    max_rmse: float | None = None
    min_r2: float | None = None
    max_degradation: float = 0.10  # share of the expected error
    max_coverage_loss: float = 0.10  # of the 80 % interval, share of days


@dataclass(frozen=True)
class ExpectedError:
    """Scores of a backtest: overall, and by block of the horizon where they were kept."""

    overall: Mapping[str, float]
    blocks: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> ExpectedError:
        """Read the metrics of a model's contract, where `wape@2-7` is that of days 2 to 7.

        >>> ExpectedError.of({"wape": 8.0, "wape@1": 5.0, "days@1": 40.0}).get("wape", "1")
        5.0
        """
        blocks: dict[str, dict[str, float]] = {}
        for key, value in metrics.items():
            name, separator, block = key.partition("@")
            if separator:
                blocks.setdefault(block, {})[name] = value
        return cls({k: v for k, v in metrics.items() if "@" not in k}, blocks)

    def get(self, name: str, block: str) -> float:
        """Return a score of a block, the overall one where the block's is of too few days."""
        scores = self.blocks.get(block, {})
        is_enough = scores.get("days", 0) >= ENOUGH and name in scores
        return float((scores if is_enough else self.overall).get(name, np.nan))


@dataclass(frozen=True)
class Score(Result):
    """The accuracy of one model version at one block of the horizon, in units of the series.

    Attributes:
        forecasts: number of forecasts with an actual.
        days: number of different target days.
        wape: per cent.
        bias: mean of forecast less actual.
        coverage: share inside the 80 % interval; `coverage_upper` its upper 97.5 % bound.
        naive_mae: error of the seasonal naive forecast on the same days.
        skill: our error there divided by `naive_mae`.
        expected_wape: that of the backtest, per cent.
        degradation: wape / expected_wape - 1; `degradation_lower` its lower 97.5 % bound,
            `degradation_upper` its upper one.
        flags: of "degraded", "mae", "rmse", "r2".
    """

    model_version: int
    block: str
    forecasts: int
    days: int
    mae: float
    rmse: float
    r2: float
    mase: float
    wape: float
    bias: float
    coverage: float
    coverage_upper: float = field(metadata=json_name("coverage_high"))
    naive_mae: float
    skill: float
    expected_wape: float = field(metadata=json_name("promised_wape"))
    degradation: float
    degradation_lower: float = field(metadata=json_name("degradation_low"))
    degradation_upper: float = field(metadata=json_name("degradation_high"))
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Accuracy(Result):
    """The scores of a window of days, and whether they alarm.

    Attributes:
        first: first target day, an ISO string.
        last: last target day.
        degradation: the largest of a degraded block, 0 where none is.
        consecutive_flags: in how many consecutive checks each flag of a version was up.
        alarms: flags that were up for long enough.
        first_detected: day from which on the degraded error is larger, "" where nothing is.
    """

    first: str
    last: str
    scores: tuple[Score, ...]
    degradation: float
    consecutive_flags: Mapping[str, int] = field(metadata=json_name("streaks"))
    alarms: tuple[str, ...]
    first_detected: str = field(default="", metadata=json_name("since"))

    @property
    def alarm(self) -> bool:
        """Whether anything alarms."""
        return bool(self.alarms)


def measure_accuracy(
    forecasts: pd.DataFrame,
    expected: Mapping[int, ExpectedError] | ExpectedError,
    *,
    first: np.datetime64,
    last: np.datetime64,
    limits: Limits | None = None,
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    previous: Mapping[str, Any] | Accuracy | None = None,
    checks: int = 3,
) -> Accuracy:
    """Score the forecasts of the target days `first` to `last`. Pure.

    Args:
        forecasts: rows of `join_actuals`, with a column `model_version`.
        expected: the backtest of the model, or of each version.
        first: first target day.
        last: last target day.
        limits: the largest errors allowed.
        blocks: days of the horizon, both ends inclusive.
        previous: the result of the check before this one.
        checks: for how many consecutive checks a flag must be up before it alarms.

    Returns:
        A score for each version and block with forecasts, and what follows from them.

    Raises:
        ArithmeticError: forecasts or actuals are so large that their sums overflow: no comparison
            with such sums means anything.
    """
    limits = limits or Limits()
    scored = select_scored(forecasts, first, last)
    scores, onsets = [], []
    for version, block, rows in group_by_block(scored, blocks):
        backtest = expected if isinstance(expected, ExpectedError) else expected.get(version)
        backtest = backtest or ExpectedError({}, {})
        score = _score(version, block, rows, backtest, limits)
        scores.append(score)
        if "degraded" in score.flags:
            onsets.append(first + _onset(rows, score, limits))
    flagged = [f"{s.model_version} {s.block} {flag}" for s in scores for flag in s.flags]
    lasting = consecutive_flags(flagged, str(last), previous)
    return Accuracy(
        first=str(first),
        last=str(last),
        scores=tuple(scores),
        degradation=max((s.degradation for s in scores if "degraded" in s.flags), default=0.0),
        consecutive_flags=lasting,
        alarms=tuple(name for name, count in lasting.items() if count >= checks),
        first_detected=first_detected([str(day) for day in onsets], lasting, previous),
    )


def _score(
    version: int,
    block: str,
    rows: ScoredForecasts,
    expected: ExpectedError,
    limits: Limits,
) -> Score:
    """Score the forecasts of one version and block."""
    largest = max(float(np.abs(rows.point).max()), float(np.abs(rows.actual).max()))
    if largest > LARGEST:
        raise ArithmeticError(
            f"version {version}, days {block} ahead: got values up to {largest:.3g}, expected at "
            f"most {LARGEST:g}"
        )
    error = rows.point - rows.actual
    size = np.abs(error)
    totals, day = daily_totals(rows, size)
    wape, coverage = wape_and_coverage(totals.sum(axis=0))
    expected_wape = expected.get("wape", block)
    with np.errstate(invalid="ignore", divide="ignore"):
        degradation = float(np.divide(wape, expected_wape)) - 1
    bounds = _bound_degradation(totals, day, expected_wape)
    naive_mae, skill = compare_with_naive(rows, size)
    errors = {
        "mae": float(size.mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": r2_score(rows.actual, error),
    }
    flags: dict[str, bool] = {}
    if len(size) >= ENOUGH and len(totals) >= MIN_DAYS:
        least = _least_coverage(expected, limits)
        # A window that a change divides is not steady, and its bounds are wide.
        recent = day > day[-1] - MIN_DAYS
        for looked_at in (bounds, _bound_degradation(totals[recent], day[recent], expected_wape)):
            # Without an interval there is no coverage, and the error decides alone.
            is_covered = looked_at.coverage_upper >= least
            if looked_at.lower > limits.max_degradation and not is_covered:
                flags["degraded"], bounds = True, looked_at
                break
        flags |= _exceeded(errors, limits)
    return Score(
        model_version=version,
        block=block,
        forecasts=len(size),
        days=len(totals),
        **errors,
        mase=mase(rows.actual, rows.point, rows.scale, rows.series),
        wape=float(wape),
        bias=float(error.mean()),
        coverage=float(coverage),
        coverage_upper=bounds.coverage_upper,
        naive_mae=naive_mae,
        skill=skill,
        expected_wape=expected_wape,
        degradation=degradation,
        degradation_lower=bounds.lower,
        degradation_upper=bounds.upper,
        flags=tuple(name for name, up in flags.items() if up),
    )


class _Bounds(NamedTuple):
    """The 95 % interval of the degradation, and the upper 97.5 % bound of the coverage."""

    lower: float
    upper: float
    coverage_upper: float


def _bound_degradation(totals: np.ndarray, day: np.ndarray, expected_wape: float) -> _Bounds:
    lower, upper, coverage_upper = confidence_bounds(totals, day)
    with np.errstate(invalid="ignore", divide="ignore"):
        lower, upper = (float(np.divide(bound, expected_wape)) - 1 for bound in (lower, upper))
    return _Bounds(lower, upper, coverage_upper)


def _least_coverage(expected: ExpectedError, limits: Limits) -> float:
    """Return the share of days that the interval must cover, at most the nominal one."""
    nominal = 100 * _NOMINAL_COVERAGE
    backtest = expected.overall.get("coverage_80", nominal) / 100
    return min(_NOMINAL_COVERAGE, backtest) - limits.max_coverage_loss


def _exceeded(errors: Mapping[str, float], limits: Limits) -> dict[str, bool]:
    """Tell for each absolute limit whether it is exceeded."""
    return {
        "mae": limits.max_mae is not None and errors["mae"] > limits.max_mae,
        "rmse": limits.max_rmse is not None and errors["rmse"] > limits.max_rmse,
        "r2": limits.min_r2 is not None and errors["r2"] < limits.min_r2,
    }


def _onset(rows: ScoredForecasts, score: Score, limits: Limits) -> int:
    """Return the day of the window from which on the error is larger: Page's (1954) last minimum.

    The excess of a day is its error above the middle of the limit and the window's mean.
    """
    size = np.abs(rows.point - rows.actual)
    middle = (score.expected_wape * (1 + limits.max_degradation) + score.wape) / 200
    excess = np.bincount(rows.day, size - middle * np.abs(rows.actual))
    total = np.append(0.0, np.cumsum(excess))
    return len(total) - 1 - int(total[::-1].argmin())
