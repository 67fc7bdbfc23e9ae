"""One check of the production model: read forecasts and actuals, check, keep, and alert."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import structlog

from lib.inference import ArtifactError
from lib.monitoring.alerts import Finding, raise_alerts
from lib.monitoring.arrivals import Arrivals, measure_arrivals
from lib.monitoring.by_series import GroupsError, draw_history, load_groups
from lib.monitoring.digest import send_digest
from lib.monitoring.findings import (
    keep_report,
    list_findings,
    list_missing,
    list_stopped,
    previous_report,
    usual_truth_lag,
    write_latest,
)
from lib.monitoring.frames import Frames, from_store
from lib.monitoring.quarantine import count_quarantined, quarantine
from lib.monitoring.report import Report, check_day, load_baseline
from lib.registry import ModelCache, Registry, RegistryError
from lib.settings import Settings
from lib.storage import Store, utcnow

log = structlog.get_logger()


class MonitorError(RuntimeError):
    """There is nothing to check; the message says what to do."""


class NoActualError(MonitorError):
    """No forecast has an actual yet: early in a service that is usual, and no fault."""


def run_check(settings: Settings, store: Store, *, day: np.datetime64 | None = None) -> Report:
    """Check the production model, keep the report, and raise alerts.

    An incident of accuracy or drift ends only where there was enough evidence that it is over.

    Args:
        settings: limits, prices, channels, and the registry.
        store: the database of the service.
        day: the last day to check, as on its evening; by default the last one that the bulk of the
            actuals has reached, as of now.

    Raises:
        MonitorError: there is no production model, no actual yet, or sums overflow.
        StoreError: the database cannot be used.
    """
    with _production_model(settings) as (version, folder):
        reference, expected = load_baseline(folder, settings.monitor_window_days)
    arrivals = measure_arrivals(
        store,
        day if day is not None else np.datetime64(utcnow().date(), "D"),
        silent_days=settings.monitor_silent_days,
        usual_lag=usual_truth_lag(store, otherwise=settings.monitor_window_days),
        until=day,
    )
    day = day if day is not None else _last_day_with_actuals(store, settings, arrivals)
    first = day - settings.monitor_window_days - settings.monitor_checks
    frames = from_store(store, first, day)
    quarantine(store, frames.quarantined)
    frames = _select_version(frames, version)
    try:
        report = check_day(
            frames,
            reference,
            expected,
            day=day,
            trained=reference.dates.max(),  # not the beginning of its test days, months earlier
            settings=settings,
            previous=previous_report(store, version, str(day)),
            arrivals=arrivals,
            groups=_load_groups(settings),
        )
    except ArithmeticError as error:
        overflow = Finding("evidence sums", "critical", "The check cannot be computed", str(error))
        raise_alerts(store, [overflow], settings=settings, within=())
        raise MonitorError(f"the check cannot be computed: {error}") from error
    keep_report(store, report, version)
    findings = list_findings(report, version) + list_missing(report, count_quarantined(store))
    raise_alerts(store, findings, settings=settings, within=_judged(report))
    pictures = draw_history(frames.forecasts, [s.name for s in report.worst_series], day)
    latest = write_latest(settings, store, report, version, expected, pictures)
    if settings.digest:
        send_digest(store, settings, latest)
    log.info(
        "model checked",
        day=report.day,
        version=version,
        status=report.status,
        doubt=report.evidence.reason,
        alarms=list(report.alarms),
        retrain=report.recommendation.retrain,
        reasons=report.recommendation.reasons,
    )
    return report


def report_retraining(store: Store, settings: Settings, problem: str) -> None:
    """Raise an alert that retraining fails, or end it where `problem` is "". Raises StoreError."""
    failed = Finding("retraining", "warning", "The model cannot be trained again", problem)
    raise_alerts(store, [failed] if problem else [], settings=settings, within="retraining")


@contextmanager
def _production_model(settings: Settings) -> Generator[tuple[int, Path]]:
    """Yield the production version and a local folder with its files."""
    from mlflow.exceptions import MlflowException

    try:
        registry = Registry(settings)
        version = registry.version_of("production")
        if version is None:
            raise MonitorError("there is no production model to check: run make train first")
        with ModelCache(settings).version(version, registry.fetch) as folder:
            yield version, folder
    except (MlflowException, RegistryError, ArtifactError) as error:
        raise MonitorError(f"the production model cannot be fetched: {error}") from error


def _select_version(frames: Frames, version: int) -> Frames:
    """Return the forecasts of one version: those of another one are no evidence about it."""
    is_version = frames.forecasts["model_version"].to_numpy() == version
    return replace(frames, forecasts=frames.forecasts[is_version])


def _judged(report: Report) -> tuple[str, ...]:
    """Return how the keys of the incidents begin that end where this report does not find them."""
    judged = ["evidence "]
    if report.evidence.enough:
        judged.append("model accuracy")
    if report.evidence.drift_enough and not (report.arrivals and report.arrivals.stopped):
        judged.append("model drift")
    return tuple(judged)


def _load_groups(settings: Settings) -> pd.DataFrame | None:
    """Return the groups of series; without them, where they cannot be read, the check goes on."""
    try:
        return load_groups(settings.monitor_groups)
    except GroupsError as error:
        log.warning("groups of series left out", error=str(error))
        return None


def _last_day_with_actuals(store: Store, settings: Settings, arrivals: Arrivals) -> np.datetime64:
    if arrivals.last_truth:
        return np.datetime64(arrivals.last_truth, "D")
    missing = list_stopped(arrivals)
    raise_alerts(store, missing, settings=settings, within=("evidence ",))
    raise NoActualError("no actual of a forecast is known yet: send it to POST /actuals")
