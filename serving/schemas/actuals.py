"""Bodies and answers of `/actuals`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.schemas.fields import STRICT, Day, LongName, Name

MAX_ACTUALS = 1_000  # of one request


class Actual(BaseModel):
    """The observed value of one day: of a /predict by its `trace_id`, else of a series and date."""

    model_config = STRICT

    trace_id: Name | None = None
    series_id: LongName | None = None
    date: Day | None = None
    value: float = Field(description="In the units of the series")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        by_day = self.series_id is not None and self.date is not None
        neither = self.series_id is None and self.date is None
        if (self.trace_id is None and not by_day) or (self.trace_id is not None and not neither):
            raise ValueError("expected either trace_id, or series_id and date")
        return self

    @property
    def key(self) -> str:
        """The forecast day that this is the actual of, as one string."""
        if self.trace_id is not None:
            return f"trace {self.trace_id}"
        return f"day {self.date} {self.series_id}"


class ActualsBody(BaseModel):
    """Up to 1,000 actuals. All are stored or, if one is wrong, none."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "example": {"actuals": [{"series_id": "series", "date": "2026-01-31", "value": 101.5}]}
        },
    )

    actuals: list[Actual] = Field(min_length=1, max_length=MAX_ACTUALS)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        values: dict[str, float] = {}
        for i, item in enumerate(self.actuals):
            if values.setdefault(item.key, item.value) != item.value:
                raise ValueError(f"actuals[{i}]: another value for the same day is in this request")
        return self


class ActualKept(BaseModel):
    """What became of one actual."""

    status: Literal["added", "corrected", "unchanged"]
    matched: bool = Field(description="Whether a stored forecast is about it")
    quarantined: bool = Field(
        False, description="Whether it is stored but left out, until a person has looked at it"
    )
    reason: str = Field("", description="Of the quarantine, or why no forecast is matched")


class ActualsKept(BaseModel):
    """How many actuals were new, corrected an earlier one, or were known; and each, in order."""

    added: int
    corrected: int
    unchanged: int
    unmatched: int = Field(description="Of all: those that no stored forecast is about")
    quarantined: int = Field(0, description="Of all: implausible by the past of their series")
    results: list[ActualKept]
