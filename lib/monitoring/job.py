"""One check of the production model: read forecasts and actuals, check, keep, and alert."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import structlog

from lib.inference import ArtifactError
from lib.monitoring.alerts import Finding, raise_alerts
from lib.monitoring.findings import keep_report, list_findings, previous_report, write_latest
from lib.monitoring.frames import Frames, from_store, last_day
from lib.monitoring.report import Report, check_day, load_baseline
from lib.registry import ModelCache, Registry, RegistryError
from lib.settings import Settings
from lib.storage import Store

log = structlog.get_logger()


class MonitorError(RuntimeError):
    """There is nothing to check; the message says what to do."""


class NoActualError(MonitorError):
    """No forecast has an actual yet: early in a service that is usual, and no fault."""


def run_check(settings: Settings, store: Store, *, day: np.datetime64 | None = None) -> Report:
    """Check the production model, keep the report, and raise alerts.

    Args:
        settings: limits, prices, channels, and the registry.
        store: the database of the service.
        day: the last day to check; by default the last one with an actual.

    Raises:
        MonitorError: there is no production model, or no actual yet.
        StoreError: the database cannot be used.
    """
    with _production_model(settings) as (version, folder):
        reference, expected = load_baseline(folder, settings.monitor_window_days)
    day = day if day is not None else _last_day_with_actuals(store)
    first = day - settings.monitor_window_days - settings.monitor_checks
    frames = from_store(store, first, day)
    report = check_day(
        _select_version(frames, version),
        reference,
        expected,
        day=day,
        trained=reference.dates.max(),  # not the beginning of its test days, months earlier
        settings=settings,
        previous=previous_report(store, version, str(day)),
    )
    keep_report(store, report, version)
    raise_alerts(store, list_findings(report, version), settings=settings, within="model ")
    write_latest(settings, store, report, version, expected)
    log.info(
        "model checked",
        day=report.day,
        version=version,
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
    return Frames(frames.forecasts[is_version], frames.history, frames.features, frames.share)


def _last_day_with_actuals(store: Store) -> np.datetime64:
    last = last_day(store)
    if last is None:
        raise NoActualError("no actual of a forecast is known yet: send it to POST /actuals")
    return last
