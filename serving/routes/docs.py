"""`/openapi.json` and the Swagger UI at `/docs`, whose assets are installed with the service."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import flask_openapi3_swagger
from flask import Blueprint, Response, current_app, send_from_directory
from flask_openapi3 import OpenAPI
from pydantic import BaseModel

from lib.data import WINDOW_DAYS
from serving.http import KEY_HEADER, MEDIA_TYPE, STYLED_POLICY, is_open
from serving.schemas import (
    ForecastRequest,
    PredictRequest,
    Problem,
    example_covariates,
    example_history,
    example_rows,
)
from serving.state import state_of

_ASSETS = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"
_REF = "#/components/schemas/{model}"
_BODY = {400, 413, 415, 422}
# Problems that each call answers, beside what its view declares.
_PROBLEMS: dict[str, set[int]] = {
    "/predict": _BODY | {429, 503},
    "/forecast": _BODY | {429, 503},
    "/request-explanation": _BODY | {404, 409, 429, 503},
    "/explanations/{explanation_id}": {404, 429, 503},
    "/explanations/{explanation_id}/plot.png": {404, 429, 503},
    "/actuals": _BODY | {429, 503},
    "/model": {429, 503},
    "/monitoring": {429},
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Production LSTM: the API</title>
<link rel="icon" href="/docs/images/swagger.svg">
<link rel="stylesheet" href="/docs/css/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/js/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  tryItOutEnabled: true,
});
"""
pages = Blueprint("docs", __name__)


@pages.get("/docs", strict_slashes=False)
def docs() -> Response:
    """Return the page of Swagger UI."""
    policy = {"Content-Security-Policy": STYLED_POLICY}
    return Response(_PAGE, mimetype="text/html", headers=policy)


@pages.get("/docs/start.js")
def start() -> Response:
    """Return the script that starts it; a file, so that the page needs no inline script."""
    return Response(_START, mimetype="text/javascript")


@pages.get("/docs/<any(css, js, images):folder>/<path:name>")
def asset(folder: str, name: str) -> Response:
    """Return a file of Swagger UI."""
    response = send_from_directory(_ASSETS / folder, name, max_age=86_400)
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response


@pages.get("/openapi.json")
def openapi() -> Response:
    """Return the description of the API, with the length of sequence that the model wants."""
    model = state_of().model.current()
    contract = model.forecaster.contract if model else None
    length = contract.context_length if contract else WINDOW_DAYS
    covariates = json.dumps(example_covariates(contract) if contract else {})
    app: Any = current_app
    text = _text(app._get_current_object(), length, covariates)
    return Response(text, mimetype="application/json")


@lru_cache(maxsize=8)
def _text(app: OpenAPI, length: int, covariates: str) -> str:
    return json.dumps(describe(app, length, json.loads(covariates)))


def describe(
    app: OpenAPI, length: int, covariates: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make the OpenAPI description.

    Args:
        app: whose calls are described.
        length: rows of a sequence.
        covariates: of a day, by name, for the example of `/forecast`.
    """
    spec = copy.deepcopy(app.api_doc)
    schemas = spec["components"]["schemas"]
    for unused in ("ValidationErrorModel", "UnprocessableEntity"):
        schemas.pop(unused, None)
    example = {"sequence": example_rows(length)}
    _body(spec, "/predict", PredictRequest, example)
    days = [day | dict(covariates or {}) for day in example_history()]
    history = {"history": days, "horizon": 3}
    _body(spec, "/forecast", ForecastRequest, history)
    _add(schemas, Problem)
    for name in ("PredictRequest", "ExplanationBody"):
        field = schemas[name]["properties"]["sequence"]
        for option in field.get("anyOf", [field]):
            if option.get("type") == "array":
                option |= {"minItems": length, "maxItems": length}
    explain = spec["paths"]["/request-explanation"]["post"]["requestBody"]
    explain["content"]["application/json"]["example"] = example
    keys = bool(state_of(app).settings.api_keys)
    if keys:
        scheme = {"type": "apiKey", "in": "header", "name": KEY_HEADER}
        spec["components"]["securitySchemes"] = {"key": scheme}
    for path, item in spec["paths"].items():
        for operation in item.values():
            needs_key = keys and not is_open(path)
            if needs_key:
                operation["security"] = [{"key": []}]
            _responses(operation, _PROBLEMS.get(path, set()) | ({401} if needs_key else set()))
    return spec


def _body(spec: dict[str, Any], path: str, model: type[BaseModel], example: Any) -> None:
    _add(spec["components"]["schemas"], model)
    content = {"schema": {"$ref": _REF.format(model=model.__name__)}, "example": example}
    spec["paths"][path]["post"]["requestBody"] = {
        "required": True,
        "content": {"application/json": content},
    }


def _add(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_REF)
    schemas |= schema.pop("$defs", {})
    schemas[model.__name__] = schema


def _responses(operation: dict[str, Any], statuses: set[int]) -> None:
    """Document the problems of an operation in place of flask-openapi3's own."""
    operation["responses"].pop("422", None)
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    for status in sorted(statuses):
        operation["responses"][str(status)] = {
            "description": _MEANINGS[status],
            "content": content,
        }


_MEANINGS = {
    400: "The body is not strict JSON",
    401: "An API key is needed",
    404: "Not found, or deleted; with Retry-After: not stored yet",
    409: "What is stored under this trace_id cannot be explained any more",
    413: "The body is too large, or has more series or days than the limits allow",
    415: "The Content-Type is not application/json, or the body is compressed",
    422: "A field is wrong; `errors` names it",
    429: "Too many explanations wait, or more was sent than one client may; see Retry-After",
    503: "No model, no store or no free slot at the moment; see Retry-After",
}
