"""Whether to train again, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.checks import Result
from lib.drift import Drift
from lib.live_accuracy import Accuracy


@dataclass(frozen=True)
class Rules:
    """When a model is to be trained again; None switches a reason off."""

    after_days: float | None = 7.0
    after_samples: int | None = 100  # actuals since it was trained
    on_degradation: bool = True
    on_drift: bool = True


@dataclass(frozen=True)
class Verdict(Result):
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


def verdict(
    accuracy: Accuracy,
    drift: Drift | None,
    *,
    day: np.datetime64,
    trained: np.datetime64,
    new_samples: int,
    rules: Rules | None = None,
) -> Verdict:
    """Judge by what the checks found on a day. Pure.

    Args:
        drift: None where no features were kept.
        trained: the day the model was trained on.
        new_samples: actuals that came true since.
    """
    rules = rules or Rules()
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
    return Verdict(
        str(day), bool(reasons), urgent, reasons, age, new_samples, accuracy.degradation, since
    )
