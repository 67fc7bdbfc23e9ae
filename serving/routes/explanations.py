"""Explanations over HTTP: request one, poll its state, fetch its picture.

Nothing is computed here, and nothing is imported that could: a request queues a job, and a worker
computes it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from flask import Response, g, make_response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import Conflict, NotFound, ServiceUnavailable, TooManyRequests

from lib.inference import PRETRAINED_ARTIFACT, PRETRAINED_VERSION, Contract
from serving.explanations import NoWorkerError, QueueFullError
from serving.http import invalid
from serving.routes.store import AWAY, store_access
from serving.schemas import (
    ExplanationBody,
    ExplanationPath,
    ExplanationQueued,
    ExplanationState,
    FeatureRow,
    make_question,
)
from serving.state import served, state_of

_SOON = 1  # seconds after which a prediction is in the store
_ROWS = TypeAdapter(list[FeatureRow])
_PICTURE = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
calls = APIBlueprint("explanations", __name__, abp_tags=[Tag(name="explanations")])


class _NotYet(NotFound):
    """404 for what may be found in a moment."""

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), ("Retry-After", str(_SOON))]


@calls.post("/request-explanation", responses={202: ExplanationQueued})
def request_explanation(body: ExplanationBody) -> Response:
    """Have a forecast explained in the background; look for the result at Location."""
    asked = None if body.trace_id is not None else _make_question(body)
    with store_access():
        question, g.version = asked or _question_of_trace(body.trace_id or "")
        try:
            state = state_of()
            identity = state.jobs.submit(
                question,
                g.version,
                edition=_pretrained_edition() if g.version == PRETRAINED_VERSION else "",
                needs_worker=state.needs_worker,
            )
        except NoWorkerError as error:
            raise ServiceUnavailable(
                "No worker for explanations runs: `make run-worker` starts one", retry_after=AWAY
            ) from error
        except QueueFullError as error:
            raise TooManyRequests(
                f"{error}, which is as many as may. Try again later",
                retry_after=error.retry_after,
            ) from error
    answer = ExplanationQueued(status="explanation_queued", explanation_id=identity)
    response = make_response(answer.model_dump(), 202)
    response.headers["Location"] = f"/explanations/{identity}"
    return response


@calls.get("/explanations/<explanation_id>", responses={200: ExplanationState})
def explanation(path: ExplanationPath) -> Response:
    """Return the state of an explanation, and the SHAP values once it is done."""
    return make_response(_state(path.explanation_id).model_dump())


@calls.get("/explanations/<explanation_id>/plot.png", responses={200: _PICTURE})
def explanation_plot(path: ExplanationPath) -> Response:
    """Return the picture of an explanation that is done."""
    state = _state(path.explanation_id)
    with store_access():
        png = state_of().jobs.plot(path.explanation_id)
    if png is None:
        raise NotFound(f"This explanation has no picture: it is {state.status}")
    return Response(png, mimetype="image/png")


@cache
def _pretrained_edition() -> str:
    """Return what tells the pretrained network of this release from that of another one."""
    return f"calibrated {Contract.read(PRETRAINED_ARTIFACT).sha256['model.onnx']}"


def _make_question(body: ExplanationBody) -> tuple[dict[str, Any], int]:
    """Return the question to store about a sequence or history, and its version."""
    if body.history is not None:
        model = served()
        # By name and as sent: dates as text, and nothing that was left out.
        sent = body.model_dump(mode="json", exclude_unset=True)
        return make_question(sent, model.forecaster.contract), model.version
    model = state_of().model.current()
    if model is None:
        raise ServiceUnavailable("No model is served yet", retry_after=AWAY)
    rows = body.sequence or []
    if len(rows) != (length := model.forecaster.contract.context_length):
        raise invalid("sequence", f"expected {length} rows, got {len(rows)}")
    return body.model_dump(include={"sequence"}), model.version


def _question_of_trace(trace_id: str) -> tuple[dict[str, Any], int]:
    """Return the /predict body of a trace, and the version that answered it."""
    stored = state_of().recorder.body(trace_id)
    if stored is None:
        # Another process may have answered, and be about to write it.
        raise _NotYet(
            "No /predict answer with this trace_id is stored; one of just now may be in a moment, "
            "otherwise send its sequence instead"
        )
    body, version = stored
    # Through the model's rows, so that it is the same question as the sequence sent anew; of as
    # many as the version that answered wanted, which may be more or fewer than are wanted now.
    try:
        sequence = _ROWS.dump_python(_ROWS.validate_python(body["sequence"]))
    except (KeyError, TypeError, ValidationError) as error:
        raise Conflict(
            f"What was sent with this trace_id, to version {version}, has not the fields of a "
            "/predict body of today; send a sequence instead"
        ) from error
    return {"sequence": sequence}, version


def _state(identity: str) -> ExplanationState:
    with store_access():
        known, jobs = re.fullmatch("[0-9a-f]{32}", identity), state_of().jobs
        row = jobs.get(identity) if known else None
        waits = row is not None and row["status"] == "queued" and state_of().needs_worker
        detail = "No worker for explanations runs" if waits and not jobs.has_worker() else ""
    if row is None:
        raise NotFound("There is no explanation of this id, or no longer")
    finished = row["finished_at"]
    return ExplanationState(
        explanation_id=identity,
        status=row["status"],
        model_version=row["model_version"],
        created_at=row["created_at"].isoformat(),
        finished_at=finished and finished.isoformat(),
        result=row["result"],
        error=row["error"],
        detail=detail,
        plot=f"/explanations/{identity}/plot.png" if row["status"] == "done" else None,
    )
