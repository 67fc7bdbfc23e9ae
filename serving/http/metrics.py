"""Metrics for Prometheus, added up over the worker processes.

With PROMETHEUS_MULTIPROC_DIR set before this module is imported (`serving.server` does so), each
process writes its numbers into files of that folder; otherwise they are those of this process.
"""

from __future__ import annotations

from collections.abc import Callable

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
        self.depth = Gauge(
            "explanations",
            "Explanations by status",
            ["status"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
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

    def text(self) -> bytes:
        """Return the metrics of all processes in Prometheus's text format."""
        registry = self._registry
        if is_shared():
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)


def is_shared() -> bool:
    """Tell whether several processes write their numbers into one folder."""
    return values.ValueClass.__name__ != "MutexValue"
