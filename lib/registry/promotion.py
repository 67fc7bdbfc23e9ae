"""Decide by scores alone whether a challenger becomes the production model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.evaluation import Difference, Verdict

_LARGEST = 1e18  # of an error in units of the series, as of the series themselves
_LARGEST_WAPE = 1e4  # per cent
MARGIN = 0.01  # of the champion's score, the least gain that replaces it
STEADIER = 0.1  # share by which forecasts move less, to decide between equals
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
    differences: Sequence[Difference] = (),
) -> Decision:
    """Promote a challenger that is better, not equal, than champion and simple forecasts.

    With paired differences, better than the champion means by more than the noise of the
    comparison and a margin, and not worse in the other metrics. Between equals the steadier one
    wins, whose forecasts of the same days move less from week to week.

    Args:
        challenger: its scores over its whole horizon.
        champion: scores of the production version; None where there is none to compare with. One
            without a finite `metric` counts as not comparable.
        seasonal_naive: scores of the baseline over the challenger's horizon.
        shared_horizon: the challenger's scores over the champion's horizon, where that is shorter.
        metric: one of LOWER_IS_BETTER.
        verdict: of the challenger's backtest beside the best simple forecast; None compares with
            seasonal naive alone.
        differences: of the challenger from the champion, paired by origin and series.

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
    figures |= _describe_differences(differences)
    steadier = _is_steadier(shared_horizon or challenger, champion, figures)
    if objection := _find_objection(differences, metric, steadier):
        return Decision(False, objection, figures)
    reason = f"{metric} {shared:.4g} beats production, {best:.4g}"
    if steadier:
        reason += f", and its forecasts move less ({figures['revision']:.2g} of the scale a week)"
    rest = f", and {beaten}" if verdict is None else f"; {verdict.reason}"
    return Decision(True, reason + rest, figures)


def _find_objection(differences: Sequence[Difference], metric: str, steadier: bool) -> str:
    """Return why a gain over the champion does not count, "" where it does."""
    for one in differences:
        noise = one.standard_error if math.isfinite(one.standard_error) else 0.0
        least = max(noise, MARGIN * abs(one.baseline_score))
        figures = (
            f"{one.metric} {one.score:.4g} against {one.baseline_score:.4g} of production "
            f"(difference {one.difference:+.2g}, noise {noise:.2g})"
        )
        if one.difference > least:
            return f"{figures}: production is better"
        if one.metric == metric and one.difference > -least and not steadier:
            return f"{figures}: too little to replace it"
    return ""


def _is_steadier(
    scores: Mapping[str, float],
    champion: Mapping[str, float] | None,
    figures: dict[str, float | int | str | None],
) -> bool:
    """Tell whether forecasts move clearly less than the champion's; add both to the figures."""
    pair = scores.get("revision", math.nan), (champion or {}).get("revision", math.nan)
    if not all(map(math.isfinite, pair)):
        return False
    figures |= {"revision": pair[0], "champion_revision": pair[1]}
    return pair[0] < (1 - STEADIER) * pair[1]


def _describe_differences(
    differences: Sequence[Difference],
) -> dict[str, float | int | str | None]:
    """Return the differences from the champion as figures of a decision."""
    values: dict[str, float | int | str | None] = {}
    for one in differences:
        values[f"difference_from_champion_{one.metric}"] = _finite(one.difference)
        values[f"standard_error_from_champion_{one.metric}"] = _finite(one.standard_error)
    return values


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
