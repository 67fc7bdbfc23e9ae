"""The retraining policy: when to train again, why, and when to wait with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lib.monitoring.accuracy import Accuracy
from lib.monitoring.drift import Drift
from lib.monitoring.results import Result, json_name
from lib.settings import Settings


@dataclass(frozen=True)
class RetrainingPolicy:
    """When a model is trained again; None switches a reason off."""

    after_days: float | None = 7.0
    after_samples: int | None = 100  # actuals since it was trained
    on_degradation: bool = True
    on_drift: bool = True
    learn_days: float = 14.0  # after a change, that a challenger must learn from
    pause_days: float = 7.0  # of new data, after a challenger that the gate rejected

    @classmethod
    def of(cls, settings: Settings) -> RetrainingPolicy:
        """Read the policy from the settings, where 0 days or samples switch that reason off."""
        return cls(
            after_days=settings.retrain_after_days or None,
            after_samples=settings.retrain_after_samples or None,
            learn_days=settings.retrain_learn_days,
            pause_days=settings.retrain_pause_days,
        )


@dataclass(frozen=True)
class RetrainingRecommendation(Result):
    """Whether to train again.

    Attributes:
        day: last day that was checked, an ISO string.
        retrain: whether there is a reason.
        urgent: whether the world has changed (degradation or drift), not only time has passed.
        reasons: a sentence by kind, of "age", "degradation", "drift" and "data".
        age_days: since the model was trained.
        new_samples: actuals since then.
        degradation: share of the expected error.
        first_detected: day of the change, "" where there is none or it is unknown.
    """

    day: str
    retrain: bool
    urgent: bool
    reasons: dict[str, str]
    age_days: float
    new_samples: int
    degradation: float
    first_detected: str = field(default="", metadata=json_name("since"))


def recommend_retraining(
    accuracy: Accuracy,
    drift: Drift | None,
    *,
    day: np.datetime64,
    trained: np.datetime64,
    new_samples: int,
    policy: RetrainingPolicy | None = None,
) -> RetrainingRecommendation:
    """Recommend by the checks of a day whether to train again. Pure.

    Args:
        accuracy: the check of the live accuracy.
        drift: the check of drift; None where no features were kept.
        day: last day that was checked.
        trained: last day that the model learned from.
        new_samples: actuals since.
        policy: the reasons that count.
    """
    policy = policy or RetrainingPolicy()
    age = float((day - trained).astype(np.int64))
    is_degraded = any(name.endswith("degraded") for name in accuracy.alarms)
    reasons = {}
    if policy.after_days is not None and age >= policy.after_days:
        reasons["age"] = f"trained {age:g} days ago, at most {policy.after_days:g} are allowed"
    if policy.on_degradation and accuracy.alarms:
        share = f", {accuracy.degradation:+.0%} of the expected error" if is_degraded else ""
        reasons["degradation"] = f"accuracy of {', '.join(accuracy.alarms)}{share}"
    if policy.on_drift and drift is not None and drift.alarms:
        reasons["drift"] = f"drift of {', '.join(drift.alarms)}"
    if policy.after_samples is not None and new_samples >= policy.after_samples:
        reasons["data"] = f"{new_samples} new values, {policy.after_samples} are enough"
    onsets = {
        "degradation": accuracy.first_detected if is_degraded else "",
        "drift": drift.first_detected if drift is not None else "",
    }
    return RetrainingRecommendation(
        day=str(day),
        retrain=bool(reasons),
        urgent=bool(reasons.keys() & onsets.keys()),
        reasons=reasons,
        age_days=age,
        new_samples=new_samples,
        degradation=accuracy.degradation,
        first_detected=min((d for kind, d in onsets.items() if d and kind in reasons), default=""),
    )


def reason_to_wait(
    recommendation: RetrainingRecommendation,
    policy: RetrainingPolicy,
    *,
    last_rejected: np.datetime64 | None,
    held_out_days: int | None,
) -> str:
    """Return why the gate would reject a challenger trained now, "" where it may pass. Pure.

    Either the last challenger was rejected, and few days have come since. Or only a change of the
    world asks for one, and too few days after it could be learned from: the last days of the data
    are held out to choose and judge by.

    Args:
        recommendation: that of the check.
        policy: how long to wait.
        last_rejected: last day of the last challenger's data, where the gate rejected it.
        held_out_days: at the end of the data, which a challenger never learns from; None where
            they are unknown, since the parameters of the retraining are wrong.
    """
    day = np.datetime64(recommendation.day, "D")
    if last_rejected is not None and (day - last_rejected).astype(np.int64) < policy.pause_days:
        return f"the gate rejected the last challenger, whose data ended on {last_rejected}"
    change = recommendation.first_detected
    has_other_reason = recommendation.reasons.keys() - {"degradation", "drift"}
    if not change or has_other_reason or held_out_days is None:
        return ""
    days_since = int((day - np.datetime64(change, "D")).astype(np.int64)) + 1
    learned = max(0, days_since - held_out_days)
    if learned >= policy.learn_days:
        return ""
    return (
        f"{learned} days after the change of {change} to learn from, {policy.learn_days:g} are "
        f"needed: {held_out_days} are held out to choose and judge by"
    )
