"""All checks of one day: live accuracy, drift, business impact, and whether to train again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.inference import CONTRACT, ArtifactError, Contract, verify_file
from lib.monitoring.accuracy import Accuracy, ExpectedError, Limits, measure_accuracy
from lib.monitoring.business_impact import BusinessImpact, Prices, compute_business_impact
from lib.monitoring.drift import Drift, detect_drift
from lib.monitoring.drift_reference import DriftReference, build_reference
from lib.monitoring.frames import Frames, until
from lib.monitoring.results import Result
from lib.monitoring.retraining_policy import (
    RetrainingPolicy,
    RetrainingRecommendation,
    recommend_retraining,
)
from lib.settings import Settings


@dataclass(frozen=True)
class Report(Result):
    """What the checks found on the evening of `day`; `drift` is None where no features are kept."""

    day: str
    accuracy: Accuracy
    drift: Drift | None
    business: BusinessImpact
    verdict: RetrainingRecommendation

    @property
    def alarms(self) -> tuple[str, ...]:
        """What alarms, such as "accuracy 3 2-7 degraded" or "drift lag_1"."""
        drifting = self.drift.alarms if self.drift else ()
        return (
            *(f"accuracy {name}" for name in self.accuracy.alarms),
            *(f"drift {name}" for name in drifting),
        )


def check_day(
    frames: Frames,
    reference: DriftReference,
    promise: Mapping[int, ExpectedError] | ExpectedError,
    *,
    day: np.datetime64,
    trained: np.datetime64,
    settings: Settings,
    previous: Mapping[str, Any] | Report | None = None,
) -> Report:
    """Check the window of `settings.monitor_window_days` days up to `day`. Pure.

    Args:
        frames: what is known on the evening of that day.
        reference: of the model that serves (`lib.monitoring.drift_reference.build_reference`).
        promise: the backtest of the model, or of each version.
        trained: the day the model was trained.
        previous: the report before this one, as it was or as JSON.
    """
    first = day - settings.monitor_window_days + 1
    before = previous.to_json() if isinstance(previous, Report) else previous or {}
    accurate = measure_accuracy(
        frames.forecasts,
        promise,
        first=first,
        last=day,
        limits=limits_of(settings),
        previous=before.get("accuracy"),
        checks=settings.monitor_checks,
    )
    drifting = None
    if len(frames.features):
        drifting = detect_drift(
            reference,
            frames.features,
            last=day,
            alpha=settings.drift_alpha,
            min_effect=settings.drift_min_effect,
            checks=settings.monitor_checks,
            previous=before.get("drift"),
        )
    dates, values = frames.history["date"].to_numpy(), frames.history["value"].to_numpy()
    new = int(np.isfinite(values[(dates > trained) & (dates <= day)]).sum())
    decided = recommend_retraining(
        accurate, drifting, day=day, trained=trained, new_samples=new, rules=rules_of(settings)
    )
    priced = compute_business_impact(
        frames.forecasts, prices_of(settings), first=first, last=day, share=frames.share
    )
    return Report(str(day), accurate, drifting, priced, decided)


def check_days(
    frames: Frames,
    reference: DriftReference,
    promise: Mapping[int, ExpectedError] | ExpectedError,
    *,
    days: Sequence[np.datetime64] | np.ndarray,
    trained: np.datetime64,
    settings: Settings,
) -> list[Report]:
    """The checks of several days in order, each knowing what was known then and the one before."""
    reports: list[Report] = []
    for day in days:
        reports.append(
            check_day(
                until(frames, day),
                reference,
                promise,
                day=day,
                trained=trained,
                settings=settings,
                previous=reports[-1] if reports else None,
            )
        )
    return reports


def baseline(
    model: Path, days: int, until: np.datetime64 | None = None
) -> tuple[DriftReference, ExpectedError]:
    """What a model folder says the data looked like, and how good its forecasts would be.

    Args:
        days: length of the windows that will be checked.
        until: the last day to look at; of a backtest, the one before it.

    Raises:
        ArtifactError: the contract or the reference is missing or altered.
    """
    path = model / CONTRACT
    if not path.is_file():
        raise ArtifactError(f"{CONTRACT}: missing in {model}")
    contract = Contract.from_json(path.read_text())
    verify_file(model / "reference.parquet", contract.sha256.get("reference.parquet"))
    reference = pd.read_parquet(model / "reference.parquet")
    if until is not None:
        reference = reference[reference["date"] <= until]
    return build_reference(reference, days), ExpectedError.of(contract.metrics)


def limits_of(settings: Settings) -> Limits:
    """The thresholds of accuracy that the settings name."""
    return Limits(
        settings.max_mae,
        settings.max_rmse,
        settings.min_r2,
        settings.max_degradation,
        settings.max_coverage_loss,
    )


def prices_of(settings: Settings) -> Prices:
    """The prices that the settings name."""
    return Prices(
        settings.cost_over,
        settings.cost_under,
        settings.revenue_per_accurate,
        settings.accurate_within,
        settings.inventory_saving,
    )


def rules_of(settings: Settings) -> RetrainingPolicy:
    """When to retrain, by the settings; 0 days or samples switches that reason off."""
    return RetrainingPolicy(
        settings.retrain_after_days or None, settings.retrain_after_samples or None
    )
