"""Decide by scores alone whether a challenger becomes the production model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.evaluation import Verdict

_LARGEST = 1e18  # of an error in units of the series, as of the series themselves
_LARGEST_WAPE = 1e4  # per cent
LOWER_IS_BETTER = ("mase", "mae", "rmse", "smape", "wape", "wql")


@dataclass(frozen=True)
class Decision:
    """Say whether a challenger becomes production, why, and by which scores."""

    promote: bool
    reason: str
    figures: dict[str, float | int | str | None] = field(default_factory=dict)


def decide_promotion(
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    seasonal_naive: Mapping[str, float],
    *,
    shared_horizon: Mapping[str, float] | None = None,
    metric: str = "mase",
    verdict: Verdict | None = None,
) -> Decision:
    """Promote a challenger that is better, not equal, than champion and simple forecasts.

    Args:
        challenger: its scores over its whole horizon.
        champion: scores of the production version; None where there is none to compare with. One
            without a finite `metric` counts as not comparable.
        seasonal_naive: scores of the baseline over the challenger's horizon.
        shared_horizon: the challenger's scores over the champion's horizon, where that is shorter.
        metric: one of LOWER_IS_BETTER.
        verdict: of the challenger's backtest beside the best simple forecast; None compares with
            seasonal naive alone.

    Raises:
        ValueError: the metric is unknown, or higher values of it are better.

    >>> decide_promotion({"mase": 0.8}, {"mase": 0.9}, {"mase": 1.0}).reason
    'mase 0.8 beats production, 0.9, and seasonal naive, 1'
    >>> decide_promotion({"mase": 0.9}, {"mase": 0.9}, {"mase": 1.0}).promote
    False
    """
    if metric not in LOWER_IS_BETTER:
        raise ValueError(f"metric: got {metric!r}, expected one of {LOWER_IS_BETTER}")
    score, naive, shared = (
        math.nan if scores is None else scores.get(metric, math.nan)
        for scores in (challenger, seasonal_naive, shared_horizon)
    )
    best = math.nan if champion is None else champion.get(metric, math.nan)
    figures: dict[str, float | int | str | None] = {
        "metric": metric,
        "challenger": _finite(score),
        "seasonal_naive": _finite(naive),
        "champion": _finite(best),
    }
    if verdict is not None:
        figures |= verdict.figures()
        if not verdict.better:
            return Decision(False, verdict.reason, figures)
    if shared_horizon is None:
        shared = score
    else:
        figures["challenger_beside_champion"] = _finite(shared)
    if insane := _insane_scores(challenger):
        reason = f"the expected error is no measure: {insane}; look for broken values in the data"
        return Decision(False, reason, figures)
    if not (math.isfinite(score) and math.isfinite(naive)):
        reason = f"{metric} is not a number: {score}, seasonal naive {naive}"
        return Decision(False, reason, figures)
    if not score < naive:
        reason = f"{metric} {score:.4g} does not beat seasonal naive, {naive:.4g}"
        return Decision(False, reason, figures)
    beaten = f"seasonal naive, {naive:.4g}"
    if not math.isfinite(best):
        problem = "no production version to compare with"
        if champion is not None:
            problem = f"the production version has no {metric} to compare with"
        first = f"{metric} {score:.4g} beats {beaten}" if verdict is None else verdict.reason
        return Decision(True, f"{first}; {problem}", figures)
    if not shared < best:
        reason = f"{metric} {shared:.4g} does not beat production, {best:.4g}"
        return Decision(False, reason, figures)
    reason = f"{metric} {shared:.4g} beats production, {best:.4g}"
    rest = f", and {beaten}" if verdict is None else f"; {verdict.reason}"
    return Decision(True, reason + rest, figures)


def _insane_scores(scores: Mapping[str, float] | None) -> str:
    """Return the scores that no degradation could be found against, "" where all are sane."""
    largest = dict.fromkeys(LOWER_IS_BETTER, _LARGEST) | {"wape": _LARGEST_WAPE}
    wrong = [
        f"{name} {value:.4g}"
        for name, value in (scores or {}).items()
        if (base := name.partition("@")[0]) in largest and abs(value) > largest[base]
    ]
    return ", ".join(wrong[:5])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
