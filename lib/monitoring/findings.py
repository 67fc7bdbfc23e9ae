"""Where the findings of checks are kept: the table of checks, incidents, and a file to show.

The table of findings has what the service shows at `GET /monitoring`; `monitoring/latest.json`
below VAR_DIR is a copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from lib.files import write_json
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.alerts import Finding, open_incidents
from lib.monitoring.arrivals import Arrivals
from lib.monitoring.drift import Drift
from lib.monitoring.evidence import has_sane_baseline
from lib.monitoring.report import Report
from lib.settings import Settings
from lib.storage import Store, checks, exclusive_transaction, utcnow
from lib.storage import findings as findings_table

KIND = "report"
LATEST = Path("monitoring") / "latest.json"
_FEWEST_LAGS = 5  # checks that say how late truth usually is
_POINTS = 90  # checks drawn over time
_BUSINESS_UNITS = {
    "total": "money",
    "cost": "money",
    "revenue": "money",
    "saving": "money",
    "per_unit": "money per unit",
    "roi": "",
}


def list_findings(report: Report, version: int) -> list[Finding]:
    """Return what is wrong: one incident for accuracy, one for drift, whichever version serves."""
    findings = []
    if report.accuracy.alarms:
        what = "an error beyond the limits that are set"
        if any(name.endswith("degraded") for name in report.accuracy.alarms):
            what = f"{report.accuracy.degradation:+.0%} of the error expected from the backtest"
        detail = f"version {version}: {'; '.join(report.accuracy.alarms)}{_interval(report)}"
        findings.append(
            Finding("model accuracy", "critical", f"Forecasts are worse: {what}", detail)
        )
    if report.drift and report.drift.alarms:
        detail = f"version {version}: {'; '.join(_name_drifted(report.drift))}"
        findings.append(Finding("model drift", "warning", "The data have drifted", detail))
    return findings


def _name_drifted(drift: Drift) -> list[str]:
    """Return the features that alarm, with what has moved where that says something."""
    shifts = {one.feature: one.shift for one in drift.features}
    texts = {name: shift.text() for name in drift.alarms if (shift := shifts.get(name))}
    return [f"{name} ({texts[name]})" if texts.get(name) else name for name in drift.alarms]


def _interval(report: Report) -> str:
    """Return what is known of the worst degradation: its confidence interval."""
    degraded = [s for s in report.accuracy.scores if "degraded" in s.flags]
    if not degraded:
        return ""
    worst = max(degraded, key=lambda score: score.degradation)
    return (
        f"; the error is higher than expected, 95 % interval {worst.degradation_lower:+.0%} to "
        f"{worst.degradation_upper:+.0%}"
    )


def list_missing(report: Report, quarantined: int) -> list[Finding]:
    """Return what a check lacks: what has stopped, and actuals that a person has to look at."""
    findings = list_stopped(report.arrivals) if report.arrivals else []
    if not has_sane_baseline(report.accuracy):
        title = "The expected error of the model is no measure"
        detail = "no degradation can be found against it: train again on sound data"
        findings.append(Finding("evidence baseline", "critical", title, detail))
    if quarantined:
        actuals = "1 actual is" if quarantined == 1 else f"{quarantined} actuals are"
        title = f"{actuals} implausible and left out"
        detail = "list, release or drop with `lstm-forecast quarantine` (in .venv/bin)"
        findings.append(Finding("evidence quarantine", "warning", title, detail))
    return findings


def list_stopped(arrivals: Arrivals) -> list[Finding]:
    """Return an incident for each of truth, forecasts and series that has stopped."""
    names = ", ".join(arrivals.names)
    findings = []
    if arrivals.truth_stopped:
        since = arrivals.last_truth or "the first forecast"
        detail = f"no actuals of most series since {since}, as of {arrivals.day}"
        findings.append(Finding("evidence truth", "critical", "Truth has stopped arriving", detail))
    if arrivals.forecasts_stopped:
        detail = f"most of {arrivals.series} series were last forecast on {arrivals.last_forecast}"
        findings.append(Finding("evidence forecasts", "critical", "Forecasts have stopped", detail))
    if arrivals.silent_series:
        title = f"Truth of {arrivals.silent_series} series has stopped arriving"
        findings.append(Finding("evidence series truth", "warning", title, names))
    if arrivals.vanished_series:
        title = f"{arrivals.vanished_series} series are no longer forecast"
        findings.append(Finding("evidence series forecasts", "warning", title, names))
    return findings


def usual_truth_lag(store: Store, *, otherwise: float) -> float:
    """Return how many days after its day truth usually comes, by the last checks.

    Args:
        store: the database.
        otherwise: the answer where there were few checks yet.

    Raises:
        StoreError: the database cannot be used.
    """
    query = sa.select(checks.c.result).where(checks.c.kind == KIND, _named(store))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(checks.c.id.desc()).limit(30)).scalars().all()
    kept = [arrivals for row in rows if (arrivals := row.get("arrivals"))]
    lags = [one["truth_lag"] for one in kept if not one["truth_stopped"] and one["last_truth"]]
    return otherwise if len(lags) < _FEWEST_LAGS else float(np.quantile(lags, 0.75))


def _named(store: Store) -> sa.ColumnElement[bool]:
    return checks.c.model_name == store.model_name


def previous_report(store: Store, version: int, day: str) -> dict[str, Any] | None:
    """Return the JSON of the last report of a version on an earlier day. Raises StoreError."""
    of_version = (checks.c.kind == KIND) & (checks.c.model_version == version) & _named(store)
    newest = sa.select(checks.c.result).where(of_version).order_by(checks.c.id.desc()).limit(50)
    with store.reading() as connection:
        rows = connection.execute(newest).scalars().all()
    earlier = [row for row in rows if row["day"] < day]
    return max(earlier, key=lambda row: row["day"]) if earlier else None


def keep_report(store: Store, report: Report, version: int) -> None:
    """Add a report to the checks; it replaces the last one if that is of the same day.

    So a check that runs every few minutes leaves one row a day. Raises StoreError.
    """
    row = {
        "made_at": utcnow(),
        "kind": KIND,
        "model_name": store.model_name,
        "model_version": version,
        "status": report.status,
        "result": report.to_json(),
    }
    of_version = (checks.c.kind == KIND) & (checks.c.model_version == version) & _named(store)
    newest = sa.select(checks.c.id, checks.c.result).where(of_version).order_by(checks.c.id.desc())
    with store.writing() as connection:
        exclusive_transaction(connection)
        last = connection.execute(newest.limit(1)).first()
        if last is not None and last.result["day"] == report.day:
            connection.execute(checks.delete().where(checks.c.id == last.id))
        connection.execute(checks.insert().values(**row))


def write_latest(
    settings: Settings,
    store: Store,
    report: Report,
    version: int,
    expected: ExpectedError,
    pictures: Mapping[str, list[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Write what the service shows of the last check, to the database and as one whole file.

    The API reads the database: it may run on another host.

    Args:
        settings: where the file is.
        store: the database.
        report: of the check.
        version: of the model.
        expected: its scores in the backtest.
        pictures: `draw_history` of the worst series.

    Returns:
        What was written.

    Raises:
        StoreError: the database cannot be used.
    """
    scores, drawn = expected.overall, pictures or {}
    latest = {
        "checked_at": utcnow().isoformat(timespec="seconds"),
        "model_name": store.model_name,
        "model_version": version,
        "accuracy": {
            "history": _accuracy_history(store),
            "promise": {
                "mae": scores.get("mae"),
                "mase": scores.get("mase"),
                "coverage": scores.get("coverage_80"),
            },
            "interval": 0.8,
        },
        "drift": _drift_ranking(report),
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
            {"name": name, "value": _finite(getattr(report.business, name)), "unit": unit}
            for name, unit in _BUSINESS_UNITS.items()
        ],
        "verdict": {
            "retrain": report.recommendation.retrain,
            "reasons": list(report.recommendation.reasons.values()),
        },
        "status": report.status,
        "evidence": report.evidence.to_json(),
        "arrivals": report.arrivals.to_json() if report.arrivals else None,
        "stability": report.stability.to_json() if report.stability else None,
        "worst_series": [
            one.to_json() | {"history": drawn.get(one.name, [])} for one in report.worst_series
        ],
        "groups": [one.to_json() for one in report.groups],
        "anomalies": [one.to_json() for one in report.anomalies],
    }
    _keep_latest(store, latest)
    write_json(settings.var_dir / LATEST, latest)
    return latest


def _keep_latest(store: Store, latest: dict[str, Any]) -> None:
    row = {"model_name": store.model_name, "made_at": utcnow(), "result": latest}
    with store.writing() as connection:
        exclusive_transaction(connection)
        of_model = findings_table.c.model_name == store.model_name
        connection.execute(findings_table.delete().where(of_model))
        connection.execute(findings_table.insert().values(**row))


def _accuracy_history(store: Store) -> list[dict[str, Any]]:
    """Return the scores of the shortest horizon by day, from the last check of each day."""
    newest = sa.select(checks.c.result).where(checks.c.kind == KIND, _named(store))
    with store.reading() as connection:
        rows = (
            connection.execute(newest.order_by(checks.c.id.desc()).limit(_POINTS)).scalars().all()
        )
    points: dict[str, dict[str, Any]] = {}
    for result in rows:
        scores = result["accuracy"]["scores"]
        if scores and result["day"] not in points:
            shortest = scores[0]
            coverage = shortest["coverage"]
            points[result["day"]] = {
                "date": result["day"],
                "mae": shortest["mae"],
                "mase": shortest["mase"],
                "coverage": None if coverage is None else 100 * coverage,
                "forecasts": shortest["forecasts"],
            }
    return [points[day] for day in sorted(points)]


def _drift_ranking(report: Report) -> list[dict[str, Any]]:
    """Return the features with their effect (PSI), the largest first."""
    if report.drift is None:
        return []
    rows = [
        {
            "feature": one.feature,
            "effect": _finite(one.psi) or 0.0,
            "drifted": one.feature in report.drift.alarms,
            "flags": list(one.flags),
            "shift": one.shift.to_json() if one.shift else None,
        }
        for one in report.drift.features
    ]
    return sorted(rows, key=lambda row: -row["effect"])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
