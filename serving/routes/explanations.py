"""Explanations over HTTP: ask for one, look whether it is there, see it drawn; and the actuals.

Nothing is computed here, and nothing is imported that could: a request puts a row into the table
and a message into the queue, and the worker does the rest. What goes wrong is raised as an
HTTPException, which the application renders as a problem document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import structlog
from flask import Response, g, make_response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from werkzeug.exceptions import Conflict, NotFound, ServiceUnavailable, TooManyRequests

from lib.features import MAX_HORIZON
from lib.settings import Settings
from lib.storage import Store, StoreError
from serving.explanations.jobs import Jobs, Queue, QueueFullError
from serving.http.limits import ConcurrencyLimit
from serving.records import actuals
from serving.records.actuals import ActualsBody, ActualsKept, Name
from serving.records.predictions import Recorder
from serving.schemas.api import DAYS, FutureRow, HistoryRow
from serving.schemas.explanation_query import question_of
from serving.state import served

_SOON = 1  # seconds after which a prediction is in the store
_AWAY = 5  # seconds after which to ask again while the store or the model is away
_EXPLANATIONS, _ACTUALS = [Tag(name="explanations")], [Tag(name="actuals")]
log = structlog.get_logger()
# Fewer than a process has threads: a slow store must not keep /predict waiting.
store_calls = ConcurrencyLimit(
    2,
    wait=0.25,
    retry_after=1,
    detail="Too many calls wait for the store; try again in a moment",
)


class _NotYet(NotFound):
    """What is not there may be in a moment."""

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), ("Retry-After", str(_SOON))]


class ExplanationBody(BaseModel):
    """What to explain: a /predict body, the `trace_id` of one that was answered, or a `history`.

    Of a history, with what is known of its future, a day of its `/forecast` is explained.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    sequence: list[Any] | None = None
    trace_id: Name | None = None
    history: list[HistoryRow] | None = Field(default=None, min_length=1, max_length=DAYS)
    future: list[FutureRow] | None = Field(default=None, max_length=MAX_HORIZON)
    horizon_day: int | None = Field(
        default=None, ge=0, description="Day ahead, 0 for the mean of all days; default: 1"
    )
    context: int | None = Field(default=None, ge=1, description="As in /forecast")

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(asked is not None for asked in (self.sequence, self.trace_id, self.history)) != 1:
            raise ValueError("expected either sequence, trace_id or history")
        for name in ("future", "horizon_day", "context"):
            if self.history is None and getattr(self, name) is not None:
                raise ValueError(f"{name}: goes together with history only")
        return self


class ExplanationQueued(BaseModel):
    """Where to look for the result: at `/explanations/{explanation_id}`, also in Location."""

    status: Literal["explanation_queued"]
    explanation_id: str


class ExplanationPath(BaseModel):
    """An id as it was handed out."""

    explanation_id: str = Field(json_schema_extra={"example": "0" * 32})


class ExplanationState(BaseModel):
    """How far an explanation is; with `result` once it is done, `error` if it failed."""

    explanation_id: str
    status: Literal["queued", "running", "done", "failed"]
    model_version: int
    created_at: str = Field(description="ISO, UTC")
    finished_at: str | None
    result: dict[str, Any] | None = Field(
        description="SHAP values by feature and by day, base value, output, additivity error"
    )
    error: str | None
    plot: str | None = Field(description="The path of the picture, once it is done")


@dataclass(frozen=True)
class Services:
    """What the calls work with. `version` is that of the model served now, None for none."""

    store: Store
    jobs: Jobs
    queue: Queue
    recorder: Recorder
    version: Callable[[], int | None]

    @classmethod
    def of(
        cls, settings: Settings, recorder: Recorder, version: Callable[[], int | None]
    ) -> Services:
        """The services of an installation; database and queue are opened when first used."""
        name, most = settings.registered_model_name, settings.explanation_queue_max
        jobs = Jobs(recorder.store, name=name, queue_max=most)
        return cls(recorder.store, jobs, Queue(settings.queue_url), recorder, version)


def make_blueprint(services: Services, predict_body: type[BaseModel]) -> APIBlueprint:
    """The calls of this module. `predict_body` is the strict model of a /predict body."""
    # A tag of the blueprint would come on top of that of the actuals.
    calls = APIBlueprint("explanations", __name__)
    body_model = _body_model(predict_body)

    def request_explanation(body: ExplanationBody) -> Response:
        """Have a forecast explained in the background; look for the result at Location."""
        with _stored():
            asked, version = _question(services, predict_body, body)
            g.version = version
            try:
                identity, new = services.jobs.submit(asked, version)
            except QueueFullError as error:
                raise TooManyRequests(
                    f"{error}, which is as many as may. Try again later",
                    retry_after=error.retry_after,
                ) from error
        if new:
            _wake(services.queue, identity)
        answer = ExplanationQueued(status="explanation_queued", explanation_id=identity)
        response = make_response(answer.model_dump(), 202)
        response.headers["Location"] = f"/explanations/{identity}"
        return response

    # flask-openapi3 reads the annotation, and the rows' model belongs to /predict.
    request_explanation.__annotations__["body"] = body_model
    ask = calls.post("/request-explanation", tags=_EXPLANATIONS, responses={202: ExplanationQueued})
    ask(request_explanation)

    @calls.get(
        "/explanations/<explanation_id>", tags=_EXPLANATIONS, responses={200: ExplanationState}
    )
    def explanation(path: ExplanationPath) -> Response:
        """How far an explanation is, and the SHAP values once it is done."""
        return make_response(_state(services.jobs, path.explanation_id).model_dump())

    picture = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}

    @calls.get(
        "/explanations/<explanation_id>/plot.png", tags=_EXPLANATIONS, responses={200: picture}
    )
    def explanation_plot(path: ExplanationPath) -> Response:
        """The picture of an explanation that is done."""
        state = _state(services.jobs, path.explanation_id)
        with _stored():
            png = services.jobs.plot(path.explanation_id)
        if png is None:
            raise NotFound(f"This explanation has no picture: it is {state.status}")
        return Response(png, mimetype="image/png")

    @calls.post("/actuals", tags=_ACTUALS, responses={200: ActualsKept})
    def post_actuals(body: ActualsBody) -> Response:
        """What really happened, to measure forecasts by. Sending it again changes nothing."""
        with _stored():
            return make_response(actuals.keep(services.store, body.actuals).model_dump())

    return calls


def _body_model(predict_body: type[BaseModel]) -> type[ExplanationBody]:
    """The body with the rows of /predict, and its example, if it has one."""
    rows: Any = predict_body.model_fields["sequence"]
    rows = Annotated[rows.annotation, *rows.metadata] | None
    model = create_model("ExplanationBody", __base__=ExplanationBody, sequence=(rows, None))
    config: Any = predict_body.model_config
    extra: Any = {"openapi_extra": config.get("openapi_extra", {})}
    model.model_config.update(extra)
    return model


def _question(
    services: Services, predict_body: type[BaseModel], body: ExplanationBody
) -> tuple[dict[str, Any], int]:
    """The question to keep and the version to explain it of: the one that answered."""
    if body.history is not None:
        now = served()
        # By name and as sent: dates as text, and nothing that was left out.
        return question_of(
            body.model_dump(mode="json", exclude_unset=True), now.forecaster.contract
        ), now.version
    if body.trace_id is None:
        version = services.version()
        if version is None:
            raise ServiceUnavailable("No model is served yet", retry_after=_AWAY)
        return body.model_dump(include={"sequence"}), version
    found = services.recorder.body(body.trace_id)
    if found is None:
        # Another process may have answered, and be about to write it.
        raise _NotYet(
            "No /predict answer with this trace_id is stored; one of just now may be in a moment, "
            "otherwise send its sequence instead"
        )
    asked, version = found
    # Through the model's rows, so that it is the same question as the sequence sent anew; of as
    # many as the version that answered wanted, which may be more or fewer than are wanted now.
    kind: Any = predict_body.model_fields["sequence"].annotation
    rows = TypeAdapter(kind)
    try:
        sequence = rows.dump_python(rows.validate_python(asked["sequence"]))
    except (KeyError, TypeError, ValidationError) as error:
        raise Conflict(
            f"What was sent with this trace_id, to version {version}, has not the fields of a "
            "/predict body of today; send a sequence instead"
        ) from error
    return {"sequence": sequence}, version


def _state(jobs: Jobs, identity: str) -> ExplanationState:
    with _stored():
        row = jobs.get(identity) if re.fullmatch("[0-9a-f]{32}", identity) else None
    if row is None:
        raise NotFound("There is no explanation of this id, or no longer")
    done, finished = row["status"] == "done", row["finished_at"]
    return ExplanationState(
        explanation_id=identity,
        status=row["status"],
        model_version=row["model_version"],
        created_at=row["created_at"].isoformat(),
        finished_at=finished and finished.isoformat(),
        result=row["result"],
        error=row["error"],
        plot=f"/explanations/{identity}/plot.png" if done else None,
    )


def _wake(queue: Queue, identity: str) -> None:
    try:
        queue.put(identity)
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        # The table has it: a worker finds it there within seconds.
        log.warning("queue failed", explanation_id=identity, error=str(error))


@contextmanager
def _stored() -> Generator[None]:
    try:
        with store_calls.one():
            yield
    except StoreError as error:
        log.warning("store failed", error=str(error))
        raise ServiceUnavailable("The store does not answer now", retry_after=_AWAY) from error
