"""Put the application together."""

from __future__ import annotations

from collections.abc import Container
from typing import cast

from flask.json.provider import DefaultJSONProvider
from flask_openapi3 import Info, OpenAPI

from lib.settings import Settings, get_settings
from serving import request_log
from serving.explanations import Jobs
from serving.fast_predict import FastPredict
from serving.gate import Gate
from serving.http import Metrics, StrictRequest, problems
from serving.model import LiveModel
from serving.records import Recorder, Retention, delete_old_rows
from serving.routes import actuals, docs, explanations, forecasts, pages, status
from serving.state import State, attach

_MAX_BODY = 2_000_000  # bytes; calls with another limit set it themselves
_INFO = Info(
    title="Production LSTM",
    version="1.0.0",
    description="Forecasts of daily series, with their uncertainty and their reasons.",
)


def create_app(
    settings: Settings | None = None,
    *,
    model: LiveModel | None = None,
    hosts: Container[str] | None = None,
    needs_worker: bool = False,
) -> OpenAPI:
    """Create the application.

    Nothing is opened, started or loaded before the first request.

    Args:
        settings: by default those of the environment.
        model: one that the caller keeps current; by default one that keeps itself current.
        hosts: names that requests may address this server by; by default any.
        needs_worker: whether explanations are refused where no worker runs; by default they wait
            for one.

    Returns:
        The WSGI application.
    """
    settings = settings or get_settings()
    app = OpenAPI(
        __name__,
        info=_INFO,
        security_schemes={},
        doc_ui=False,
        validation_error_callback=problems.from_validation,
        static_folder=None,
    )
    app.request_class = StrictRequest
    # The keys of an explanation are in the order of its map's rows and columns.
    cast(DefaultJSONProvider, app.json).sort_keys = False
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY
    state, gate = _make_state(settings, model, needs_worker), Gate(settings, hosts)
    attach(app, state)
    problems.register(app)
    request_log.register(app, gate)
    for blueprint in (forecasts, explanations, actuals, status):
        app.register_api(blueprint.calls)
    for blueprint in (docs, pages):
        app.register_blueprint(blueprint.pages)
    app.wsgi_app = FastPredict(app.wsgi_app, state, gate)
    return app


def _make_state(settings: Settings, model: LiveModel | None, needs_worker: bool) -> State:
    metrics = Metrics()
    live = model or LiveModel(
        settings,
        on_failure=lambda reason: metrics.failures.labels(reason).inc(),
        on_loaded=lambda version: metrics.version.set(version),
    )
    metrics.database_limit.set(1_000_000 * settings.database_max_mb)
    recorder = Recorder(
        settings,
        on_dropped=lambda reason, n: metrics.dropped.labels(reason).inc(n),
        on_measured=metrics.database.set,
    )
    jobs = Jobs(
        recorder.store,
        name=settings.registered_model_name,
        queue_max=settings.explanation_queue_max,
    )
    retention = Retention(lambda: delete_old_rows(settings, jobs))
    return State(settings, live, recorder, jobs, metrics, retention, needs_worker)
