"""The state of the service: health, the model's card, the last check, metrics."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from flask import Response, g, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from werkzeug.exceptions import ServiceUnavailable

from lib.features import DAY_OF_YEAR
from lib.inference import ServedModel
from lib.storage import Store, StoreError
from serving.http import ConcurrencyLimit, metrics
from serving.model import Served
from serving.records import read_last_check
from serving.routes.store import store_calls
from serving.schemas import Health, Live, ModelCard, Monitoring
from serving.state import RETRY_AFTER, served, state_of

# Metrics need no key: while the store is slow, reading them holds one thread and not all.
_counting = ConcurrencyLimit(1, wait=0, retry_after=1, detail="The explanations are being counted")
_AWAY = "The database does not answer now; ask again in a moment"
_OF_THIS_HOST = ". This is what the last check of this host found"
_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}
calls = APIBlueprint("status", __name__, abp_tags=[Tag(name="status")])


@calls.get("/health", responses={200: Health, 503: Health})
def health() -> Response:
    """Tell whether forecasts are answered, by which model; 503 while there is none."""
    return _health()


@calls.get("/health/ready", responses={200: Health, 503: Health})
def health_ready() -> Response:
    """Tell whether requests should be sent here: a model is in memory, and will be."""
    response = _health()
    if getattr(request.environ.get("gunicorn.socket"), "stopping", False):
        document = response.get_json() | {"status": "unavailable", "detail": "the process stops"}
        response = jsonify(document)
        response.status_code = 503
    return response


@calls.get("/health/live", responses={200: Live})
def health_live() -> Response:
    """Tell that the process answers."""
    return jsonify(status="ok")


@calls.get("/model", responses={200: ModelCard})
def model() -> Response:
    """Return the card of the served model."""
    current = served()
    g.version = current.version
    return jsonify(_card(current, state_of().settings.registered_model_name))


@calls.get("/monitoring", responses={200: Monitoring})
def last_check() -> Response:
    """Return what the last check of the model found; before the first, that there was none."""
    try:
        with store_calls.slot():
            return jsonify(_read_check(state_of().recorder.store))
    except (StoreError, ServiceUnavailable):
        found = _read_check()  # of this host, in its file
    if found["status"] == "never checked":
        found["status"] = "unreadable"
    found["detail"] = _AWAY + (_OF_THIS_HOST if found["status"] == "checked" else "")
    return jsonify(found)


@calls.get("/metrics", responses={200: _TEXT})
def prometheus() -> Response:
    """Return metrics for Prometheus."""
    state = state_of()
    # The last numbers are better than no metrics.
    with suppress(StoreError, ServiceUnavailable), _counting.slot():
        for status, count in state.jobs.count().items():
            state.metrics.depth.labels(status).set(count)
        check = _read_check(state.recorder.store)
        if check["status"] == "checked":
            state.metrics.show_check(check["findings"])
    return Response(state.metrics.text(), content_type=metrics.MEDIA_TYPE)


def _read_check(store: Store | None = None) -> dict[str, Any]:
    settings = state_of().settings
    name = settings.registered_model_name
    return read_last_check(settings.var_dir, store, model_name=name)


def _health() -> Response:
    model = state_of().model
    current = model.current()
    recorder = state_of().recorder
    trouble, notice = recorder.trouble(), recorder.notice()
    doubtful = trouble or notice or model.is_untrained() or model.is_behind()
    details = [model.detail(), trouble and f"predictions are not stored: {trouble}", notice]
    document: dict[str, Any] = {
        "status": "unavailable" if not current else "degraded" if doubtful else "ok",
        "model_version": current and current.version,
        "source": current and current.source,
        "age": current and round(time.monotonic() - current.since, 1),
        "registry": model.registry_state,
        "store": "failing" if trouble else "ok",
        "detail": "; ".join(filter(None, details)),
    }
    response = jsonify(document)
    if current is None:
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER)
    else:
        g.version = current.version
    return response


def _learned_effects(forecaster: ServedModel) -> list[str] | None:
    """Return the covariates whose effects a model has learned; None where it does not say."""
    learned = [part.effects.names for part in (forecaster.covariates, forecaster.past) if part]
    if learned:
        return [name for names in learned for name in names if name != DAY_OF_YEAR]
    # Only contracts of models that learn effects describe covariates, be it none.
    return [] if "covariates" in forecaster.contract.settings else None


def _card(current: Served, name: str) -> dict[str, Any]:
    contract = current.forecaster.contract
    return {
        "name": name,
        "model_version": current.version,
        "source": current.source,
        "loaded_at": current.loaded_at.isoformat(timespec="seconds"),
        "horizon": contract.horizon,
        "context_length": contract.context_length,
        "max_context": contract.max_context,
        "quantiles": list(contract.quantiles),
        "features": list(contract.features),
        "future": list(contract.future),
        "training_span": list(contract.training_span),
        "metrics": contract.metrics,
        "scaling": contract.scaling,
        "fingerprint": contract.fingerprint,
        "format_version": contract.format_version,
        "settings": contract.settings,
        "covariates": contract.settings.get("covariates", []),
        "learned": _learned_effects(current.forecaster),
        "baselines": current.baselines,
        "any_covariates": contract.is_uncalibrated,
        "totals": current.forecaster.ranks is not None or contract.is_uncalibrated,
    }
