"""`POST /actuals`: the observed values that forecasts are compared with."""

from __future__ import annotations

from flask import Response, make_response
from flask_openapi3 import APIBlueprint, Tag

from serving.records import store_actuals
from serving.routes.store import store_access
from serving.schemas import ActualsBody, ActualsKept
from serving.state import state_of

calls = APIBlueprint("actuals", __name__, abp_tags=[Tag(name="actuals")])


@calls.post("/actuals", responses={200: ActualsKept})
def post_actuals(body: ActualsBody) -> Response:
    """Store observed values, to measure forecasts by. Sending them again changes nothing."""
    with store_access():
        stored = store_actuals(state_of().recorder.store, body.actuals)
    return make_response(stored.model_dump())
