"""Judge a backtest: is the forecaster better than the best simple forecast, or is that noise?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lib.evaluation.paired_comparison import METRICS, WORDS, Difference, compare
from lib.evaluation.sanity import find_insane_series
from lib.evaluation.scores import Backtest, compute_metrics

MIN_SCORED_DAYS = 28  # over all series: fewer say nothing
SANE_COVERAGE = 60.0  # per cent, the least that an interval of 80 % may cover


@dataclass(frozen=True)
class Verdict:
    """Whether a forecaster is better than every simple forecast, and why in words.

    Attributes:
        better: than the best simple forecast in every metric that can be computed.
        reason: in words.
        differences: from the best simple forecast in each metric.
        untrained: from the pretrained network in each metric, where that was asked for.
    """

    better: bool
    reason: str
    differences: tuple[Difference, ...] = field(default_factory=tuple)
    untrained: tuple[Difference, ...] = field(default_factory=tuple)

    @property
    def training_is_idle(self) -> bool:
        """Whether the pretrained network is as good without training in some metric."""
        return any(not one.difference < 0 for one in self.untrained)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values, for JSON, with both scores of each metric."""
        scores = {
            name: value
            for one in self.differences
            for name, value in (
                (f"score_{one.metric}", one.score),
                (f"best_baseline_score_{one.metric}", one.baseline_score),
            )
        }
        idle = {"training_is_idle": self.training_is_idle} if self.untrained else {}
        return {"better": self.better, "reason": self.reason} | self.figures() | scores | idle

    def figures(self) -> dict[str, float | int | str | None]:
        """Return the differences as plain values, None for what is unknown."""
        values: dict[str, float | int | str | None] = {}
        for one in self.differences:
            error = one.standard_error
            values |= {
                f"best_baseline_{one.metric}": one.baseline,
                f"difference_{one.metric}": one.difference,
                f"standard_error_{one.metric}": error if math.isfinite(error) else None,
            }
        return values


def judge(
    result: Backtest, baselines: Mapping[str, Backtest], untrained: Backtest | None = None
) -> Verdict:
    """Compare a forecaster with the best of the simple forecasts, per MASE and WQL.

    Args:
        result: of the forecaster.
        baselines: of the simple forecasts from the same origins, as `run_baselines` returns them.
        untrained: of the pretrained network from the same origins. Where the forecaster does not
            beat it, the reason says so; simple forecasts alone decide.

    Returns:
        Better only with an error that is a measure in every series, enough scored days, an 80 %
        interval that covers SANE_COVERAGE at least, and lower scores than the best simple forecast
        in each metric.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> from lib.evaluation import origin_rows, run_baselines
    >>> panel, _ = synthesize(SynthesisSpec(n_series=2, n_days=300, missing=0.0), seed=1)
    >>> results = run_baselines(panel, origin_rows(panel, horizon=7, cutoffs=4, step=7), 7)
    >>> judge(results["naive"], results).better
    False
    """
    verdict = _judge(result, baselines)
    if untrained is None or not verdict.differences:
        return verdict
    found = (_compare_with_best(result, {"instant": untrained}, metric) for metric in METRICS)
    verdict = replace(verdict, untrained=tuple(one for one in found if one is not None))
    if not verdict.training_is_idle:
        return verdict
    idle = "; ".join(one.describe() for one in verdict.untrained if not one.difference < 0)
    return replace(verdict, reason=f"{verdict.reason}; training gains nothing here: {idle}")


def _judge(result: Backtest, baselines: Mapping[str, Backtest]) -> Verdict:
    """Compare a forecaster with the simple forecasts."""
    if insane := find_insane_series(result):
        number, problem = next(iter(insane.items()))
        reason = (
            f"the expected error of {len(insane)} series is no measure: number {number + 1} of the "
            f"data has {problem}; look for broken values in its last days"
        )
        return Verdict(False, reason)
    scores = compute_metrics(result)
    if scores["days"] < MIN_SCORED_DAYS:
        reason = (
            f"only {scores['days']} days could be scored, expected at least {MIN_SCORED_DAYS}: "
            "too few for a verdict"
        )
        return Verdict(False, reason)
    differences = tuple(
        best
        for metric in METRICS
        if (best := _compare_with_best(result, baselines, metric)) is not None
    )
    if not differences:
        return Verdict(False, "no score could be computed: every series is constant or zero")
    coverage = _varying(result).get("coverage_80", math.nan)
    if coverage < SANE_COVERAGE:
        shown = math.floor(10 * coverage) / 10  # never rounded up to the limit
        reason = (
            f"the 80 % interval covers {shown:g} % of the days, expected at least "
            f"{SANE_COVERAGE:.0f} %"
        )
        return Verdict(False, reason, differences)
    worse = [one for one in differences if not one.difference < 0]
    if worse:
        words = WORDS.get(worse[0].baseline, worse[0].baseline)
        reason = f"{'; '.join(one.describe() for one in worse)}: {words} is better here"
        if all(one.is_noise for one in worse):
            reason = f"{'; '.join(one.describe() for one in worse)}: {words} is as good here"
        return Verdict(False, reason, differences)
    return Verdict(True, "; ".join(one.describe() for one in differences), differences)


def _varying(result: Backtest) -> dict[str, float]:
    """Compute the metrics of the series that have a scale: any interval covers a constant."""
    rows = np.flatnonzero(np.isfinite(result.scale))
    if not len(rows):
        return compute_metrics(result)
    quantiles = None if result.quantiles is None else result.quantiles[rows]
    return compute_metrics(
        replace(
            result,
            series=result.series[rows],
            cutoffs=result.cutoffs[rows],
            actual=result.actual[rows],
            point=result.point[rows],
            quantiles=quantiles,
            scale=result.scale[rows],
        )
    )


def _compare_with_best(
    result: Backtest, baselines: Mapping[str, Backtest], metric: str
) -> Difference | None:
    found = [
        compare(result, other, metric, name)
        for name, other in baselines.items()
        if metric != "wql" or (result.quantiles is not None and other.quantiles is not None)
    ]
    found = [one for one in found if math.isfinite(one.difference)]
    return min(found, key=lambda one: one.baseline_score, default=None)
