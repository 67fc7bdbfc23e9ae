"""Checks what is served, tells who has to know, and retrains: `python -m lib.monitoring.job --help`.

What was stored of forecasts and truth is read, the checks run, their result is kept (the table of
checks, and `monitoring/latest.json` below VAR_DIR, which the service shows), incidents are told
once, and where the verdict says so and AUTO_RETRAIN allows it a challenger is trained, which goes
through the gate like any other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import structlog

from lib.files import write_json
from lib.inference import ArtifactError
from lib.log import configure_logging
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.alerts import Finding, open_incidents, raise_alerts
from lib.monitoring.drift_reference import DriftReference
from lib.monitoring.frames import Frames, from_store, last_day
from lib.monitoring.report import Report, baseline, check_day
from lib.monitoring.retraining_policy import too_early
from lib.pipeline import Retraining, retrain
from lib.registry import ModelCache, Registry, RegistryError
from lib.settings import Settings, SettingsError, get_settings
from lib.storage import Store, StoreError, checks, exclusive_transaction, utcnow

KIND = "report"
LATEST = Path("monitoring") / "latest.json"
POINTS = 90  # checks drawn over time
log = structlog.get_logger()


class MonitorError(RuntimeError):
    """There is nothing that could be checked; the message says what to do."""


def run_check(
    settings: Settings, *, day: np.datetime64 | None = None, may_retrain: bool = True
) -> tuple[Report, Retraining | None]:
    """One check of the production model, with all that follows from it.

    Args:
        day: the last day to check; by default the last one with a truth.
        may_retrain: train where the verdict says so and `auto_retrain` is set.

    Raises:
        MonitorError: no production model, or no truth yet.
        StoreError: the database cannot be used.
    """
    store = Store(settings.database_url)
    with _production(settings) as (version, folder):
        reference, promise = _baseline(folder, settings.monitor_window_days)
    day = day if day is not None else _last_truth(store)
    before = settings.monitor_window_days + settings.monitor_checks
    frames = from_store(store, day - before, day)
    report = check_day(
        _of(frames, version),
        reference,
        promise,
        day=day,
        trained=reference.dates.max(),  # not when it began to be judged: that is months earlier
        settings=settings,
        previous=_previous(store, version, str(day)),
    )
    _keep(store, report, version)
    raise_alerts(store, findings(report, version), settings=settings, within="model ")
    write_latest(settings, store, report, version, promise.overall)
    log.info(
        "model checked",
        day=report.day,
        version=version,
        alarms=list(report.alarms),
        retrain=report.verdict.retrain,
        reasons=report.verdict.reasons,
    )
    if not report.verdict.retrain:
        _tell_of_retraining(store, settings, "")
        return report, None
    if not (may_retrain and settings.auto_retrain):
        return report, None
    if early := too_early(store, settings, report.verdict):
        log.info("no retraining yet", reason=early)
        return report, None
    trained = retrain(store, settings)
    if trained.status != "busy":
        _tell_of_retraining(store, settings, trained.reason if trained.status == "failed" else "")
    return report, trained


def _tell_of_retraining(store: Store, settings: Settings, problem: str) -> None:
    failed = Finding("retraining", "warning", "The model cannot be trained again", problem)
    findings = [failed] if problem else []
    raise_alerts(store, findings, settings=settings, within="retraining")


def findings(report: Report, version: int) -> list[Finding]:
    """What is wrong, as incidents: one for accuracy, one for drift, of whichever version serves."""
    found = []
    if report.accuracy.alarms:
        detail = f"version {version}: {'; '.join(report.accuracy.alarms)}"
        what = "an error beyond the limits that are set"
        if any(name.endswith("degraded") for name in report.accuracy.alarms):
            what = f"{report.accuracy.degradation:+.0%} of the error that the backtest promised"
        found.append(Finding("model accuracy", "critical", f"Forecasts are worse: {what}", detail))
    if report.drift and report.drift.alarms:
        detail = f"version {version}: {', '.join(report.drift.alarms)}"
        found.append(Finding("model drift", "warning", "The data have drifted", detail))
    return found


def write_latest(
    settings: Settings, store: Store, report: Report, version: int, promised: Any
) -> Path:
    """What the service shows of the last check (`GET /monitoring`), as one whole file."""
    prices = report.business
    latest = {
        "checked_at": utcnow().isoformat(timespec="seconds"),
        "model_version": version,
        "accuracy": {
            "history": _over_time(store),
            "promise": {
                "mae": promised.get("mae"),
                "mase": promised.get("mase"),
                "coverage": promised.get("coverage_80"),
            },
            "interval": 0.8,
        },
        "drift": _drift(report),
        "alerts": [
            {
                "name": row["title"],
                "severity": row["severity"],
                "since": row["opened_at"].isoformat(timespec="seconds"),
                "detail": row["message"],
            }
            for row in open_incidents(store)
        ],
        "business": [
            {"name": name, "value": _finite(getattr(prices, name)), "unit": unit}
            for name, unit in (
                ("total", "money"),
                ("cost", "money"),
                ("revenue", "money"),
                ("saving", "money"),
                ("per_unit", "money per unit"),
                ("roi", ""),
            )
        ],
        "verdict": {
            "retrain": report.verdict.retrain,
            "reasons": list(report.verdict.reasons.values()),
        },
    }
    path = settings.var_dir / LATEST
    write_json(path, latest)
    return path


@contextmanager
def _production(settings: Settings) -> Generator[tuple[int, Path]]:
    """Yield the production version and a folder with its artifact."""
    from mlflow.exceptions import MlflowException

    try:
        registry = Registry(settings)
        version = registry.version_of("production")
        if version is None:
            raise MonitorError("there is no production model to check: run make train first")
        with ModelCache(settings).version(version, registry.fetch) as folder:
            yield version, folder
    except (MlflowException, RegistryError, ArtifactError) as error:
        raise MonitorError(f"the production model cannot be had: {error}") from error


def _baseline(folder: Path, days: int) -> tuple[DriftReference, ExpectedError]:
    return baseline(folder, days)


def _of(frames: Frames, version: int) -> Frames:
    """The forecasts of one version: those of an earlier one say nothing of this one."""
    own = frames.forecasts["model_version"].to_numpy() == version
    return Frames(frames.forecasts[own], frames.history, frames.features, frames.share)


def _last_truth(store: Store) -> np.datetime64:
    last = last_day(store)
    if last is None:
        raise MonitorError("no truth of a forecast is known yet: send it to POST /actuals")
    return last


def _previous(store: Store, version: int, day: str) -> dict[str, Any] | None:
    """The result of the last check of this version on an earlier day."""
    own = (checks.c.kind == KIND) & (checks.c.model_version == version)
    newest = sa.select(checks.c.result).where(own).order_by(checks.c.id.desc()).limit(50)
    with store.reading() as connection:
        rows = connection.execute(newest).scalars().all()
    earlier = [row for row in rows if row["day"] < day]
    return max(earlier, key=lambda row: row["day"]) if earlier else None


def _keep(store: Store, report: Report, version: int) -> None:
    row = {
        "made_at": utcnow(),
        "kind": KIND,
        "model_version": version,
        "status": "alarm" if report.alarms else "ok",
        "result": report.to_json(),
    }
    kept = checks.c
    own = (kept.kind == KIND) & (kept.model_version == version)
    newest = sa.select(kept.id, kept.result).where(own).order_by(kept.id.desc()).limit(1)
    with store.writing() as connection:
        exclusive_transaction(connection)
        # One a day: whoever checks every few minutes has the same day many times.
        last = connection.execute(newest).first()
        if last is not None and last.result["day"] == report.day:
            connection.execute(checks.delete().where(kept.id == last.id))
        connection.execute(checks.insert().values(**row))


def _over_time(store: Store) -> list[dict[str, Any]]:
    """The scores of the shortest horizon, check by check, the last check of each day."""
    newest = sa.select(checks.c.result).where(checks.c.kind == KIND)
    with store.reading() as connection:
        rows = connection.execute(newest.order_by(checks.c.id.desc()).limit(POINTS)).scalars().all()
    points: dict[str, dict[str, Any]] = {}
    for result in rows:
        scores = result["accuracy"]["scores"]
        if scores and result["day"] not in points:
            first = scores[0]
            covered = first["coverage"]
            points[result["day"]] = {
                "date": result["day"],
                "mae": first["mae"],
                "mase": first["mase"],
                "coverage": None if covered is None else 100 * covered,
                "forecasts": first["forecasts"],
            }
    return [points[day] for day in sorted(points)]


def _drift(report: Report) -> list[dict[str, Any]]:
    if report.drift is None:
        return []
    rows = [
        {
            "feature": one.feature,
            "effect": _finite(one.psi) or 0.0,
            "drifted": one.feature in report.drift.alarms,
        }
        for one in report.drift.features
    ]
    return sorted(rows, key=lambda row: -row["effect"])


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. → 0 checked (whatever was found), 1 nothing to check, 2 wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m lib.monitoring.job", description=__doc__)
    parser.add_argument("--day", help="last day to check (default: the last one with a truth)")
    parser.add_argument("--no-retraining", action="store_true", help="check and tell only")
    asked = parser.parse_args(arguments)
    try:
        day = np.datetime64(asked.day, "D") if asked.day else None
        settings = get_settings()
        configure_logging(settings.log_level)
        report, trained = run_check(settings, day=day, may_retrain=not asked.no_retraining)
    except (MonitorError, StoreError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    said = report.to_json() | {"retraining": asdict(trained) if trained else None}
    sys.stdout.write(json.dumps(said, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
