"""The rule by which a challenger becomes production. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LOWER_IS_BETTER = ("mase", "mae", "rmse", "smape", "wape", "wql")


@dataclass(frozen=True)
class Decision:
    """Whether a challenger becomes production, why, and the scores it was decided by."""

    promote: bool
    reason: str
    figures: dict[str, float | int | str | None] = field(default_factory=dict)


def decide_promotion(
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    seasonal_naive: Mapping[str, float],
    *,
    beside: Mapping[str, float] | None = None,
    metric: str = "mase",
) -> Decision:
    """Let a challenger through that is better, not equal, than both others. Pure.

    Args:
        champion: scores of the production version; None when there is none to compare with.
        beside: the challenger's scores on the champion's days, where its horizon is shorter.
        metric: one of LOWER_IS_BETTER. A champion without a finite one counts as not comparable;
            a challenger or a baseline without it stops the promotion.
    """
    if metric not in LOWER_IS_BETTER:
        raise ValueError(f"metric: got {metric!r}, expected one of {LOWER_IS_BETTER}")
    own, naive = (scores.get(metric, math.nan) for scores in (challenger, seasonal_naive))
    against = math.nan if champion is None else champion.get(metric, math.nan)
    common = own if beside is None else beside.get(metric, math.nan)
    figures: dict[str, float | int | str | None] = {
        "metric": metric,
        "challenger": _finite(own),
        "seasonal_naive": _finite(naive),
        "champion": _finite(against),
    }
    if beside is not None:
        figures["challenger_beside_champion"] = _finite(common)
    if not (math.isfinite(own) and math.isfinite(naive)):
        return Decision(False, f"{metric} is not a number: {own}, seasonal naive {naive}", figures)
    if not own < naive:
        reason = f"{metric} {own:.4g} does not beat seasonal naive, {naive:.4g}"
        return Decision(False, reason, figures)
    if not math.isfinite(against):
        what = "no production version to compare with"
        if champion is not None:
            what = f"the production version has no {metric} to compare with"
        return Decision(
            True, f"{metric} {own:.4g} beats seasonal naive, {naive:.4g}; {what}", figures
        )
    if not common < against:
        reason = f"{metric} {common:.4g} does not beat production, {against:.4g}"
        return Decision(False, reason, figures)
    reason = f"{metric} {common:.4g} beats production, {against:.4g}, and seasonal naive"
    return Decision(True, f"{reason}, {naive:.4g}", figures)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
