"""How the service does: health, the model's card, metrics."""

from __future__ import annotations

import time
from typing import Any

from flask import Response, g, jsonify
from flask_openapi3 import APIBlueprint, Tag
from werkzeug.exceptions import ServiceUnavailable

from lib.storage import StoreError
from serving.http import metrics
from serving.http.limits import ConcurrencyLimit
from serving.model.live_model import card
from serving.routes.explanations import Services
from serving.schemas import monitoring
from serving.schemas.api import Health, Live, ModelCard
from serving.schemas.monitoring import Monitoring
from serving.state import RETRY, served, state_of

# Anybody may read the metrics: while the store is slow, that holds one thread and not all.
_counting = ConcurrencyLimit(1, wait=0, retry_after=1, detail="The explanations are being counted")


def make_blueprint(services: Services) -> APIBlueprint:
    """The calls of this module; `services` know the length of the queue."""
    calls = APIBlueprint("status", __name__, abp_tags=[Tag(name="status")])

    @calls.get("/health", responses={200: Health, 503: Health})
    def health() -> Response:
        """Whether forecasts are answered, by which model; 503 while there is none."""
        return _health()

    @calls.get("/health/ready", responses={200: Health, 503: Health})
    def health_ready() -> Response:
        """Whether requests should be sent here: a model is in memory."""
        return _health()

    @calls.get("/health/live", responses={200: Live})
    def health_live() -> Response:
        """Whether the process answers."""
        return jsonify(status="ok")

    @calls.get("/model", responses={200: ModelCard})
    def model() -> Response:
        """The card of the served model."""
        now = served()
        g.version = now.version
        return jsonify(card(now, state_of().settings.registered_model_name))

    @calls.get("/monitoring", responses={200: Monitoring})
    def last_check() -> Response:
        """What the last check of the model found; before the first, that there was none."""
        return jsonify(monitoring.last(state_of().settings.var_dir))

    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @calls.get("/metrics", responses={200: text})
    def prometheus() -> Response:
        """Numbers for Prometheus."""
        state = state_of()
        try:
            with _counting.one():
                for status, count in services.jobs.depth().items():
                    state.metrics.depth.labels(status).set(count)
        except (StoreError, ServiceUnavailable):  # the last numbers are better than no metrics
            pass
        return Response(state.metrics.text(), content_type=metrics.MEDIA_TYPE)

    return calls


def _health() -> Response:
    model = state_of().model
    now = model.current()
    document: dict[str, Any] = {
        "status": "ok" if now else "unavailable",
        "model_version": now and now.version,
        "source": now and now.source,
        "age": now and round(time.monotonic() - now.since, 1),
        "registry": model.registry_state,
        "detail": model.detail(),
    }
    response = jsonify(document)
    if now is None:
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY)
    else:
        g.version = now.version
    return response
