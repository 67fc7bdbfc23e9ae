"""Whether to train again, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.monitoring.accuracy import Accuracy
from lib.monitoring.drift import Drift
from lib.monitoring.results import Result
from lib.pipeline import (
    RetrainingError,
    held_out,
    last_kept_out,
)
from lib.settings import Settings
from lib.storage import Store


@dataclass(frozen=True)
class RetrainingPolicy:
    """When a model is to be trained again; None switches a reason off."""

    after_days: float | None = 7.0
    after_samples: int | None = 100  # actuals since it was trained
    on_degradation: bool = True
    on_drift: bool = True


@dataclass(frozen=True)
class RetrainingRecommendation(Result):
    """Whether to retrain; `reasons` is kind → sentence, kinds being age, degradation, drift, data.

    `urgent` where the world has changed (degradation or drift), not only time has passed; `since`
    is the day from which on it seems to have, "" where it has not or that is unknown.
    """

    day: str
    retrain: bool
    urgent: bool
    reasons: dict[str, str]
    age_days: float
    new_samples: int
    degradation: float
    since: str = ""


def recommend_retraining(
    accuracy: Accuracy,
    drift: Drift | None,
    *,
    day: np.datetime64,
    trained: np.datetime64,
    new_samples: int,
    rules: RetrainingPolicy | None = None,
) -> RetrainingRecommendation:
    """Judge by what the checks found on a day. Pure.

    Args:
        drift: None where no features were kept.
        trained: the day the model was trained on.
        new_samples: actuals that came true since.
    """
    rules = rules or RetrainingPolicy()
    age = float((day - trained).astype(np.int64))
    reasons = {}
    if rules.after_days is not None and age >= rules.after_days:
        reasons["age"] = f"trained {age:g} days ago, at most {rules.after_days:g} are allowed"
    degraded = [name for name in accuracy.alarms if name.endswith("degraded")]
    if rules.on_degradation and accuracy.alarms:
        share = f", {accuracy.degradation:+.0%} of the promised error" if degraded else ""
        reasons["degradation"] = f"accuracy of {', '.join(accuracy.alarms)}{share}"
    if rules.on_drift and drift is not None and drift.alarms:
        reasons["drift"] = f"drift of {', '.join(drift.alarms)}"
    if rules.after_samples is not None and new_samples >= rules.after_samples:
        reasons["data"] = f"{new_samples} new values, {rules.after_samples} are enough"
    urgent = bool(reasons.keys() & {"degradation", "drift"})
    changed = {
        "degradation": accuracy.since if degraded else "",
        "drift": drift.since if drift is not None else "",
    }
    since = min((day for name, day in changed.items() if day and name in reasons), default="")
    return RetrainingRecommendation(
        str(day), bool(reasons), urgent, reasons, age, new_samples, accuracy.degradation, since
    )


def too_early(store: Store, settings: Settings, found: RetrainingRecommendation) -> str:
    """Why a challenger of now would only be kept out by the gate, "" where it may get in.

    Either the last one was, and few days have come since; or nothing asks for it but a change of
    the world, and of the days after that too few would be there to learn from: the last days of
    the data are for choosing and judging. Raises StoreError.
    """
    day = np.datetime64(found.day, "D")
    known = last_kept_out(store)
    if known is not None and (day - known).astype(np.int64) < settings.retrain_pause_days:
        return f"the gate kept out the last challenger, whose data ended on {known}"
    if not found.since or found.reasons.keys() - {"degradation", "drift"}:
        return ""
    try:
        judging = held_out(settings)
    except RetrainingError:
        return ""  # the retraining will say so
    after = int((day - np.datetime64(found.since, "D")).astype(np.int64)) + 1
    learned = max(0, after - judging)
    if learned >= settings.retrain_learn_days:
        return ""
    return (
        f"{learned} days after the change of {found.since} to learn from, "
        f"{settings.retrain_learn_days:g} are needed: {judging} are held out to choose and judge by"
    )
