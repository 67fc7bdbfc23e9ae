"""Metrics for Prometheus, added up over the worker processes.

With PROMETHEUS_MULTIPROC_DIR set before this module is imported (`serving.server` does so), each
process writes its numbers into files of that folder; otherwise they are those of this process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

_BUCKETS = (
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
MEDIA_TYPE = CONTENT_TYPE_LATEST
# Of the last check: name and description of the gauge, and its label.
_CHECK = {
    "error": ("forecast_live_error", "Error of forecasts that came true", ["metric"]),
    "expected": ("forecast_expected_error", "Error that the backtest lets expect", ["metric"]),
    "coverage": ("forecast_live_coverage", "Share of actuals inside the 80 % interval", []),
    "evidence": ("forecast_evidence", "Share of the forecasts that came true", []),
    "moved": ("forecast_moved", "How far the forecast of a day moves, share", []),
    "anomalies": ("forecast_anomalies", "Actuals of the last day out of the interval", ["kind"]),
    "incidents": ("monitoring_incidents", "Open incidents", ["severity"]),
    "status": ("monitoring_status", "1 for the outcome of the last check", ["status"]),
    "checked": ("monitoring_checked_seconds", "Time of the last check, Unix", []),
}


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.latency = Histogram(
            "http_request_seconds",
            "Time to answer",
            ["endpoint", "method"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.requests = Counter(
            "http_requests",
            "Answers by status",
            ["endpoint", "method", "status"],
            registry=registry,
        )
        self.version = Gauge(
            "model_version",
            "Version of the model that was loaded last; 0 for none",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.failures = Counter(
            "model_load_failures", "Models that could not be loaded", ["reason"], registry=registry
        )
        self.dropped = Counter(
            "predictions_dropped",
            "Predictions that could not be stored",
            ["reason"],
            registry=registry,
        )
        self.database = Gauge(
            "database_bytes",
            "Size of the database when it was last measured",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.database_limit = Gauge(
            "database_limit_bytes",
            "Size beyond which no prediction is stored; 0 for none",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.depth = Gauge(
            "explanations",
            "Explanations by status",
            ["status"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self._check = {
            key: Gauge(name, text, labels, multiprocess_mode="livemostrecent", registry=registry)
            for key, (name, text, labels) in _CHECK.items()
        }
        for reason in ("artifact", "registry", "cache"):
            self.failures.labels(reason)
        for reason in ("full", "failed", "limit"):
            self.dropped.labels(reason)
        self._observers: dict[tuple[str, str, int], tuple[Callable[[float], None], Counter]] = {}

    def observe(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        key = (endpoint, method, status)
        if key not in self._observers:  # labels are slow to look up
            latency = self.latency.labels(endpoint, method)
            count = self.requests.labels(endpoint, method, str(status))
            self._observers[key] = latency.observe, count
        observe, count = self._observers[key]
        observe(seconds)
        count.inc()

    def show_check(self, findings: Mapping[str, Any]) -> None:
        """Set the gauges of live error, coverage and incidents to what the last check found."""
        check = self._check
        accuracy = findings.get("accuracy") or {}
        last = (accuracy.get("history") or [{}])[-1]
        for name in ("mae", "mase"):
            _set(check["error"].labels(name), last.get(name))
            _set(check["expected"].labels(name), (accuracy.get("promise") or {}).get(name))
        _set(check["coverage"], last.get("coverage"), 0.01)
        _set(check["evidence"], (findings.get("evidence") or {}).get("share"))
        _set(check["moved"], (findings.get("stability") or {}).get("moved"), 0.01)
        anomalies, alerts = findings.get("anomalies") or [], findings.get("alerts") or []
        for kind, lasts in (("single", False), ("persistent", True)):
            count = sum(one["persistent"] == lasts for one in anomalies)
            check["anomalies"].labels(kind).set(count)
        for severity in ("info", "warning", "critical"):
            count = sum(alert["severity"] == severity for alert in alerts)
            check["incidents"].labels(severity).set(count)
        for status in ("ok", "alarm", "unknown"):
            check["status"].labels(status).set(findings.get("status") == status)
        check["checked"].set(datetime.fromisoformat(findings["checked_at"]).timestamp())

    def text(self) -> bytes:
        """Return the metrics of all processes in Prometheus's text format."""
        registry = self._registry
        if is_shared():
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)


def _set(gauge: Gauge, value: float | None, unit: float = 1.0) -> None:
    gauge.set(math.nan if value is None else unit * value)


def is_shared() -> bool:
    """Tell whether several processes write their numbers into one folder."""
    return values.ValueClass.__name__ != "MutexValue"
