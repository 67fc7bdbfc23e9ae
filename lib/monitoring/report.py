"""All checks of one day: live accuracy, drift, business impact, and whether to train again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lib.inference import CONTRACT, ArtifactError, Contract, verify_file
from lib.monitoring.accuracy import Accuracy, ExpectedError, Limits, measure_accuracy
from lib.monitoring.anomalies import Anomaly, find_anomalies
from lib.monitoring.arrivals import Arrivals
from lib.monitoring.business_impact import BusinessImpact, Prices, compute_business_impact
from lib.monitoring.by_series import PartScore, score_groups, score_series
from lib.monitoring.drift import Drift, detect_drift
from lib.monitoring.drift_reference import DriftReference, build_reference
from lib.monitoring.evidence import Evidence, weigh_evidence
from lib.monitoring.frames import Frames, known_by
from lib.monitoring.results import Result, json_name
from lib.monitoring.retraining_policy import (
    RetrainingPolicy,
    RetrainingRecommendation,
    recommend_retraining,
)
from lib.monitoring.stability import Stability, measure_stability
from lib.settings import Settings


@dataclass(frozen=True)
class Report(Result):
    """The checks on the evening of `day`, and what they saw.

    Attributes:
        day: last day of the window, an ISO string.
        accuracy: of the forecasts that came true.
        drift: of the data; None where no features are kept.
        business: what the forecasts cost and earned.
        recommendation: whether to train again.
        evidence: how much was seen; without enough of it nothing wrong means nothing.
        arrivals: what arrives and what has stopped; None for the run of a notebook.
        stability: how much forecasts of the same day move.
        worst_series: the series with the largest errors, worst first.
        groups: of series, worst first; empty where none are given.
        anomalies: of the last day, by series.
    """

    day: str
    accuracy: Accuracy
    drift: Drift | None
    business: BusinessImpact
    recommendation: RetrainingRecommendation = field(metadata=json_name("verdict"))
    evidence: Evidence
    arrivals: Arrivals | None = None
    stability: Stability | None = None
    worst_series: tuple[PartScore, ...] = ()
    groups: tuple[PartScore, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()

    @property
    def status(self) -> Literal["ok", "alarm", "unknown"]:
        """Healthy, degraded, or not enough evidence to call it either."""
        if self.alarms:
            return "alarm"
        return "ok" if self.evidence.enough else "unknown"

    @property
    def alarms(self) -> tuple[str, ...]:
        """The names of all alarms, such as "accuracy 3 2-7 degraded" or "drift lag_1"."""
        drifting = self.drift.alarms if self.drift else ()
        return (
            *(f"accuracy {name}" for name in self.accuracy.alarms),
            *(f"drift {name}" for name in drifting),
        )


def check_day(
    frames: Frames,
    reference: DriftReference,
    expected: Mapping[int, ExpectedError] | ExpectedError,
    *,
    day: np.datetime64,
    trained: np.datetime64,
    settings: Settings,
    previous: Mapping[str, Any] | Report | None = None,
    arrivals: Arrivals | None = None,
    groups: pd.DataFrame | None = None,
) -> Report:
    """Check the window of `settings.monitor_window_days` days up to `day`. Pure.

    Args:
        frames: what is known on the evening of that day.
        reference: of the model that serves (`build_reference`).
        expected: the backtest of the model, or of each version.
        day: last day of the window.
        trained: last day that the model learned from.
        settings: limits, prices, and the retraining policy.
        previous: the report before this one, as it was or as JSON.
        arrivals: what has stopped; None where that is unknown.
        groups: of series, a row each with series_id and further columns; None without.

    Raises:
        ArithmeticError: forecasts or actuals are so large that their sums overflow.
    """
    first = day - settings.monitor_window_days + 1
    before = previous.to_json() if isinstance(previous, Report) else previous or {}
    accuracy = measure_accuracy(
        frames.forecasts,
        expected,
        first=first,
        last=day,
        limits=_limits(settings),
        previous=before.get("accuracy"),
        checks=settings.monitor_checks,
    )
    drift = None
    if len(frames.features):
        drift = detect_drift(
            reference,
            frames.features,
            last=day,
            alpha=settings.drift_alpha,
            min_effect=settings.drift_min_effect,
            checks=settings.monitor_checks,
            previous=before.get("drift"),
        )
    recommendation = recommend_retraining(
        accuracy,
        drift,
        day=day,
        trained=trained,
        new_samples=round(_count_actuals(frames.history, trained, day) / frames.share),
        policy=RetrainingPolicy.of(settings),
    )
    business = compute_business_impact(
        frames.forecasts, _prices(settings), first=first, last=day, share=frames.share
    )
    evidence = weigh_evidence(frames, accuracy, drift, first=first, last=day, arrivals=arrivals)
    # What `/predict` answered is of unknown series: each is of one of its own.
    named = frames.forecasts[(frames.forecasts["series_id"] != "").to_numpy()]
    return Report(
        day=str(day),
        accuracy=accuracy,
        drift=drift,
        business=business,
        recommendation=recommendation,
        evidence=evidence,
        arrivals=arrivals,
        stability=measure_stability(named, first, day),
        worst_series=score_series(named, first, day),
        groups=score_groups(named, groups, first, day),
        anomalies=find_anomalies(named, day),
    )


def check_days(
    frames: Frames,
    reference: DriftReference,
    expected: Mapping[int, ExpectedError] | ExpectedError,
    *,
    days: Sequence[np.datetime64] | np.ndarray,
    trained: np.datetime64,
    settings: Settings,
    groups: pd.DataFrame | None = None,
) -> list[Report]:
    """Check several days in order, each with what was known then and the report before.

    Args are those of `check_day`.
    """
    reports: list[Report] = []
    for day in days:
        reports.append(
            check_day(
                known_by(frames, day),
                reference,
                expected,
                day=day,
                trained=trained,
                settings=settings,
                previous=reports[-1] if reports else None,
                groups=groups,
            )
        )
    return reports


def load_baseline(
    model: Path, days: int, last: np.datetime64 | None = None
) -> tuple[DriftReference, ExpectedError]:
    """Load what a model's data looked like and its expected error from its folder.

    Args:
        model: the folder of the model.
        days: length of the windows that will be checked.
        last: the last day of the reference to use; for a backtest the one before it.

    Returns:
        The reference for drift, and the scores of the backtest.

    Raises:
        ArtifactError: the contract or the reference is missing or altered.
    """
    path = model / CONTRACT
    if not path.is_file():
        raise ArtifactError(f"{CONTRACT}: missing in {model}")
    contract = Contract.from_json(path.read_text())
    verify_file(model / "reference.parquet", contract.sha256.get("reference.parquet"))
    reference = pd.read_parquet(model / "reference.parquet")
    if last is not None:
        reference = reference[reference["date"] <= last]
    described = contract.settings.get("covariates", ())
    categories = {item["name"]: item["labels"] for item in described if item["labels"]}
    return build_reference(reference, days, categories), ExpectedError.of(contract.metrics)


def _count_actuals(history: pd.DataFrame, after: np.datetime64, last: np.datetime64) -> int:
    dates, values = history["date"].to_numpy(), history["value"].to_numpy()
    return int(np.isfinite(values[(dates > after) & (dates <= last)]).sum())


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.max_mae,
        settings.max_rmse,
        settings.min_r2,
        settings.max_degradation,
        settings.max_coverage_loss,
    )


def _prices(settings: Settings) -> Prices:
    return Prices(
        settings.cost_over,
        settings.cost_under,
        settings.revenue_per_accurate,
        settings.accurate_within,
        settings.inventory_saving,
    )
