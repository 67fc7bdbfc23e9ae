"""Bodies and answers of `/request-explanation` and `/explanations`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lib.features import MAX_HORIZON
from serving.schemas.fields import LongName, Name
from serving.schemas.forecasts import DAYS, FeatureRow, FutureRow, HistoryRow, Static


class ExplanationBody(BaseModel):
    """What to explain: a /predict body, the `trace_id` of one that was answered, or a `history`.

    Of a history, with what is known of its future, a day of its `/forecast` is explained.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    sequence: list[FeatureRow] | None = None
    trace_id: Name | None = None
    history: list[HistoryRow] | None = Field(default=None, min_length=1, max_length=DAYS)
    future: list[FutureRow] | None = Field(default=None, max_length=MAX_HORIZON)
    static: Static | None = None
    series_id: LongName | None = Field(
        default=None, description="As in /forecast: covariates may act otherwise on each series"
    )
    horizon_day: int | None = Field(
        default=None, ge=0, description="Day ahead, 0 for the mean of all days; default: 1"
    )
    context: int | None = Field(default=None, ge=1, description="As in /forecast")

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(part is not None for part in (self.sequence, self.trace_id, self.history)) != 1:
            raise ValueError("expected either sequence, trace_id or history")
        for name in ("future", "static", "series_id", "horizon_day", "context"):
            if self.history is None and getattr(self, name) is not None:
                raise ValueError(f"{name}: goes together with history only")
        return self


class ExplanationQueued(BaseModel):
    """Where to look for the result: at `/explanations/{explanation_id}`, also in Location."""

    status: Literal["explanation_queued"]
    explanation_id: str


class ExplanationPath(BaseModel):
    """The id of an explanation, as `/request-explanation` answered it."""

    explanation_id: str = Field(json_schema_extra={"example": "0" * 32})


class ExplanationState(BaseModel):
    """The state of an explanation, with `result` once it is done and `error` if it failed."""

    explanation_id: str
    status: Literal["queued", "running", "done", "failed"]
    model_version: int
    created_at: str = Field(description="ISO, UTC")
    finished_at: str | None
    result: dict[str, Any] | None = Field(
        description="SHAP values by feature, covariate and day, base value, output, additivity "
        "error"
    )
    error: str | None
    detail: str = Field("", description="Why it may have to wait")
    plot: str | None = Field(description="The path of the picture, once it is done")
