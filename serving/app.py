"""Puts the application together."""

from __future__ import annotations

from typing import cast

from flask.json.provider import DefaultJSONProvider
from flask_openapi3 import Info, OpenAPI

from lib.settings import Settings, get_settings
from serving import request_log
from serving.http import problems
from serving.http.metrics import Metrics
from serving.http.strict_json import StrictRequest
from serving.model.live_model import LiveModel
from serving.records.predictions import Recorder
from serving.routes import docs, forecasts, pages, status
from serving.routes.explanations import Services
from serving.routes.explanations import make_blueprint as make_explanations
from serving.schemas.api import predict_request
from serving.state import State, attach

_MAX_BODY = 2_000_000  # bytes; the calls that take another size say so
_INFO = Info(
    title="Production LSTM",
    version="1.0.0",
    description="Forecasts of daily series, with their uncertainty and their reasons.",
)


def create_app(settings: Settings | None = None, *, model: LiveModel | None = None) -> OpenAPI:
    """The application, by default with the settings of the environment.

    What it holds opens its files and starts its threads when first used, and loads the model
    then. `model` is one that the caller keeps current.
    """
    settings = settings or get_settings()
    metrics = Metrics()
    if model is None:
        model = LiveModel(
            settings,
            on_failure=lambda reason: metrics.failures.labels(reason).inc(),
            on_loaded=lambda version: metrics.version.set(version),
        )
    live = model
    recorder = Recorder(
        settings, on_dropped=lambda reason, n: metrics.dropped.labels(reason).inc(n)
    )

    def version() -> int | None:
        now = live.current()
        return now.version if now else None

    def length() -> int:
        now = live.current()
        return now.forecaster.contract.context_length if now else 60

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
    attach(app, State(settings, live, recorder, metrics))
    problems.register(app)
    request_log.register(app)
    services = Services.of(settings, recorder, version)
    app.register_api(forecasts.calls)
    app.register_api(make_explanations(services, predict_request(length)))
    app.register_api(status.make_blueprint(services))
    app.register_blueprint(docs.pages)
    app.register_blueprint(pages.pages)
    return app
