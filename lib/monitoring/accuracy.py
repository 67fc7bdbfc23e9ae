"""How good forecasts turned out to be, beside what was promised and what costs nothing.

Errors are judged relative to the level of the series (WAPE), so that a series that has grown is
no degradation of its model. A block of the horizon is degraded where two things hold at once: its
error is surely (97.5 %, bootstrap of whole weeks of days, all series of a day together, so that
neither days nor series count as independent) more than `max_degradation` above the promise, and
its 80 % interval surely covers `max_coverage_loss` less than it says. Either alone also happens in
a turbulent but healthy season. It alarms once that has lasted for `checks` checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib.evaluation import BLOCKS, SEASON, mase
from lib.monitoring.results import Result, consecutive_flags, first_detected

ENOUGH = 30  # scored forecasts that a promise by block, or a judgement, needs
MIN_DAYS = 10  # different target days that a judgement needs
_RESAMPLES = 400
_INTERVAL = (0.1, 0.9)


@dataclass(frozen=True)
class Limits:
    """What an error may be. None is no limit; mae and rmse in units of the series."""

    max_mae: float | None = None
    max_rmse: float | None = None
    min_r2: float | None = None
    max_degradation: float = 0.10  # share of the promised error
    max_coverage_loss: float = 0.10  # of the 80 % interval, share of days


@dataclass(frozen=True)
class ExpectedError:
    """Scores of a backtest: overall, and by block of the horizon where they were kept."""

    overall: Mapping[str, float]
    blocks: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> ExpectedError:
        """From the metrics of a model's contract; `wape@2-7` is that of days 2 to 7."""
        blocks: dict[str, dict[str, float]] = {}
        for key, value in metrics.items():
            name, at, block = key.partition("@")
            if at:
                blocks.setdefault(block, {})[name] = value
        return cls({k: v for k, v in metrics.items() if "@" not in k}, blocks)

    def get(self, name: str, block: str) -> float:
        """A score of a block, or the overall one where the block's comes from too few days."""
        own = self.blocks.get(block, {})
        scores = own if own.get("days", 0) >= ENOUGH and name in own else self.overall
        return float(scores.get(name, np.nan))


@dataclass(frozen=True)
class Score(Result):
    """One model version at one block of the horizon. Errors in units of the series.

    `bias` is forecast less truth; `coverage` the share inside the 80 % interval; `naive_mae` that
    of the seasonal naive forecast on the same days, and `skill` our mae there divided by it;
    `degradation` is wape / promised wape - 1, and `degradation_low` what it surely is; `flags`
    what is wrong: "degraded", "mae", "rmse", "r2".
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
    coverage_high: float
    naive_mae: float
    skill: float
    promised_wape: float
    degradation: float
    degradation_low: float
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Accuracy(Result):
    """The scores of a window of days, and whether they alarm.

    `degradation` is the largest of a degraded block, 0 where none is; `streaks` counts for how
    many checks each flag of a version has been up; `alarms` are those up for long enough; `since`
    is the day from which on the error of what is degraded seems to be larger, "" where nothing is.
    """

    first: str
    last: str
    scores: tuple[Score, ...]
    degradation: float
    streaks: Mapping[str, int]
    alarms: tuple[str, ...]
    since: str = ""

    @property
    def alarm(self) -> bool:
        """Whether anything alarms."""
        return bool(self.alarms)


def measure_accuracy(
    forecasts: pd.DataFrame,
    promise: Mapping[int, ExpectedError] | ExpectedError,
    *,
    first: np.datetime64,
    last: np.datetime64,
    limits: Limits | None = None,
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    previous: Mapping[str, Any] | Accuracy | None = None,
    checks: int = 3,
    seed: int = 0,
) -> Accuracy:
    """Score the forecasts of the target days `first` to `last`. Pure.

    Args:
        forecasts: as `lib.monitoring.actuals.join_actuals` returns them, with a column `model_version`.
        promise: the backtest of the model, or of each version.
        blocks: days of the horizon, both ends inclusive.
        previous: the result of the check before this one.
        checks: for how many checks in a row a flag must be up before it alarms.
        seed: of the bootstrap.
    """
    limits = limits or Limits()
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    inside = (date >= first) & (date <= last)
    inside &= np.isfinite(forecasts["actual"].to_numpy(np.float64))
    inside &= np.isfinite(forecasts["q0.5"].to_numpy(np.float64))
    chosen = forecasts[inside]
    names, _ = pd.factorize(chosen["series_id"])
    columns = {
        name: chosen[name].to_numpy(np.float64) if name in chosen else np.full(len(chosen), np.nan)
        for name in ("actual", "naive", "scale", "q0.5", *(f"q{q:g}" for q in _INTERVAL))
    } | {"series": names, "day": (date[inside] - first).astype(np.int64)}
    horizon = chosen["horizon"].to_numpy(np.int64)
    version = chosen["model_version"].to_numpy(np.int64)
    scores = []
    for v in np.unique(version):
        own = (
            promise
            if isinstance(promise, ExpectedError)
            else promise.get(int(v), ExpectedError({}, {}))
        )
        for low, high in blocks:
            rows = np.flatnonzero((version == v) & (horizon >= low) & (horizon <= high))
            if len(rows):
                label = f"{low}-{high}" if high > low else str(low)
                some = {name: column[rows] for name, column in columns.items()}
                scores.append(_score(int(v), label, some, own, limits, seed))
    flagged = [f"{s.model_version} {s.block} {flag}" for s in scores for flag in s.flags]
    lasting = consecutive_flags(flagged, str(last), previous)
    degraded = [s for s in scores if "degraded" in s.flags]
    since = [
        first + _onset(columns, (version == s.model_version) & _within(horizon, s.block), s, limits)
        for s in degraded
    ]
    worst = [s.degradation for s in degraded]
    return Accuracy(
        str(first),
        str(last),
        tuple(scores),
        max(worst, default=0.0),
        lasting,
        tuple(name for name, count in lasting.items() if count >= checks),
        first_detected([str(day) for day in since], lasting, previous),
    )


def _score(
    version: int,
    block: str,
    rows: Mapping[str, np.ndarray],
    promise: ExpectedError,
    limits: Limits,
    seed: int,
) -> Score:
    actual, point = rows["actual"], rows["q0.5"]
    error, size = point - actual, np.abs(point - actual)
    low, high = (rows[f"q{q:g}"] for q in _INTERVAL)
    bounded = np.isfinite(low) & np.isfinite(high)
    covered = bounded & (actual >= low) & (actual <= high)
    both = np.isfinite(rows["naive"])
    sums = np.stack(  # by day: (days, 4)
        [
            np.bincount(rows["day"], weights)
            for weights in (size, np.abs(actual), 1.0 * covered, 1.0 * bounded)
        ],
        axis=1,
    )
    wape, coverage = _ratios(sums.sum(axis=0))
    there = np.bincount(rows["day"]) > 0  # a version that is new, or days without a truth
    resampled = _ratios(_bootstrap(sums[there], seed))
    promised = promise.get("wape", block)
    variance = float(((actual - actual.mean()) ** 2).sum())
    mae, rmse = float(size.mean()), float(np.sqrt((error**2).mean()))
    r2 = 1 - float((error**2).sum()) / variance if variance > 0 else np.nan
    naive = float(np.abs(rows["naive"] - actual)[both].mean()) if both.any() else np.nan
    ours = float(size[both].mean()) if both.any() else np.nan
    days = int(there.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        degradation = float(np.divide(wape, promised)) - 1
        sure = float(np.quantile(resampled[0], 0.025) / promised) - 1
    coverage_high = float(np.quantile(resampled[1], 0.975))
    enough = len(actual) >= ENOUGH and days >= MIN_DAYS
    at_least = min(0.8, promise.overall.get("coverage_80", 80.0) / 100) - limits.max_coverage_loss
    flags = {
        # Without an interval there is nothing to confirm it, and the error decides alone.
        "degraded": enough and sure > limits.max_degradation and not coverage_high >= at_least,
        "mae": enough and limits.max_mae is not None and mae > limits.max_mae,
        "rmse": enough and limits.max_rmse is not None and rmse > limits.max_rmse,
        "r2": enough and limits.min_r2 is not None and r2 < limits.min_r2,
    }
    return Score(
        model_version=version,
        block=block,
        forecasts=len(actual),
        days=days,
        mae=mae,
        rmse=rmse,
        r2=r2,
        mase=mase(actual, point, rows["scale"], rows["series"]),
        wape=float(wape),
        bias=float(error.mean()),
        coverage=float(coverage),
        coverage_high=coverage_high,
        naive_mae=naive,
        skill=ours / naive if naive > 0 else np.nan,
        promised_wape=promised,
        degradation=degradation,
        degradation_low=sure,
        flags=tuple(name for name, up in flags.items() if up),
    )


def _onset(
    columns: Mapping[str, np.ndarray], rows: np.ndarray, score: Score, limits: Limits
) -> int:
    """Day of the window from which on the error is the larger one: Page's (1954) last minimum.

    Counted is what it is above half way between its limit and what it is in all of the window.
    """
    size = np.abs(columns["q0.5"] - columns["actual"])[rows]
    middle = (score.promised_wape * (1 + limits.max_degradation) + score.wape) / 200
    excess = np.bincount(columns["day"][rows], size - middle * np.abs(columns["actual"][rows]))
    total = np.append(0.0, np.cumsum(excess))
    return len(total) - 1 - int(total[::-1].argmin())


def _within(horizon: np.ndarray, block: str) -> np.ndarray:
    low, _, high = block.partition("-")
    return (horizon >= int(low)) & (horizon <= int(high or low))


def _ratios(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """WAPE (per cent) and coverage (share) of sums (…, 4), NaN where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        wape = np.where(sums[..., 1] > 0, 100 * sums[..., 0] / sums[..., 1], np.nan)
        return wape, np.where(sums[..., 3] > 0, sums[..., 2] / sums[..., 3], np.nan)


def _bootstrap(sums: np.ndarray, seed: int) -> np.ndarray:
    """Totals of resampled days, in blocks of a week. (days, k) → (_RESAMPLES, k)."""
    days = len(sums)
    length = min(SEASON, days)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, days - length + 1, (_RESAMPLES, -(-days // length)))
    chosen = (starts[..., None] + np.arange(length)).reshape(_RESAMPLES, -1)[:, :days]
    return sums[chosen].sum(axis=1)
