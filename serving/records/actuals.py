"""What really happened: `POST /actuals`, the truth about earlier forecasts.

What it is the truth of is its key, so sending it again changes nothing, and another value for the
same key is a correction, of which the last counts; what it replaced is kept beside it. There is no
too late and no too early: the truth of a day that was never forecast, or not yet, or so long ago
that the forecast is deleted, is kept as well and only said to match nothing now.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lib.features import MAX_HORIZON
from lib.storage import Store, actuals, corrections, exclusive_transaction, predictions, utcnow

ITEMS = 1_000  # of one request


def _iso_day(value: Any) -> date:
    """Only a day: neither a time nor a number of seconds, which pydantic would take for one."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        return date.fromisoformat(value)
    raise ValueError("expected an ISO day such as 2026-01-31")


# Control characters have no place in a name, and PostgreSQL does not take all of them.
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
LongName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Day = Annotated[date, BeforeValidator(_iso_day)]


class Actual(BaseModel):
    """The truth of one day: of a /predict by its `trace_id`, otherwise of a series and a date."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

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
        """What this is the truth of."""
        if self.trace_id is not None:
            return f"trace {self.trace_id}"
        return f"day {self.date} {self.series_id}"


class ActualsBody(BaseModel):
    """Up to 1,000 truths, kept all or, if one is wrong, none."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "example": {"actuals": [{"series_id": "series", "date": "2026-01-31", "value": 101.5}]}
        },
    )

    actuals: list[Actual] = Field(min_length=1, max_length=ITEMS)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        said: dict[str, float] = {}
        for i, item in enumerate(self.actuals):
            if said.setdefault(item.key, item.value) != item.value:
                raise ValueError(f"actuals[{i}]: another value for the same day is in this request")
        return self


class ActualKept(BaseModel):
    """What was done with one truth."""

    status: Literal["added", "corrected", "unchanged"]
    matched: bool = Field(description="Whether a forecast of it is kept")


class ActualsKept(BaseModel):
    """How many truths were new, changed an earlier one, or were there; and each, in order."""

    added: int
    corrected: int
    unchanged: int
    unmatched: int = Field(description="Of all: those that no kept forecast is about")
    results: list[ActualKept]


def keep(store: Store, items: list[Actual]) -> ActualsKept:
    """Write truths, in one transaction. Raises StoreError, and then none is written."""
    now = utcnow()
    with store.reading() as connection:
        matched = _forecast_of(connection, items)
    status: dict[str, Literal["added", "corrected", "unchanged"]] = {}
    with store.writing() as connection:
        exclusive_transaction(connection)  # or two requests could both believe to be the first
        before = _values(connection, [item.key for item in items])
        new, changed = {}, {}
        for item in items:
            if item.key not in before:
                status[item.key] = "added"
                new[item.key] = {
                    "key": item.key,
                    "trace_id": item.trace_id,
                    "series_id": item.series_id,
                    "date": item.date,
                    "value": item.value,
                    "created_at": now,
                    "updated_at": now,
                    "corrections": 0,
                }
            elif before[item.key] != item.value:
                status[item.key] = "corrected"
                changed[item.key] = item.value
            else:
                status[item.key] = "unchanged"
        if new:
            connection.execute(actuals.insert(), list(new.values()))
        if changed:
            replaced = [{"key": k, "value": before[k], "replaced_at": now} for k in changed]
            connection.execute(corrections.insert(), replaced)
        for key, value in changed.items():
            change = actuals.update().where(actuals.c.key == key)
            correction = {"value": value, "updated_at": now}
            connection.execute(change.values(**correction, corrections=actuals.c.corrections + 1))
    results = [
        ActualKept(status=status[item.key], matched=found)
        for item, found in zip(items, matched, strict=True)
    ]
    return ActualsKept(
        added=sum(s.status == "added" for s in results),
        corrected=sum(s.status == "corrected" for s in results),
        unchanged=sum(s.status == "unchanged" for s in results),
        unmatched=sum(not s.matched for s in results),
        results=results,
    )


def _forecast_of(connection: sa.Connection, items: list[Actual]) -> list[bool]:
    """Of each truth, whether a forecast is kept that it is about."""
    kept = predictions.c
    traces = {item.trace_id for item in items if item.trace_id is not None}
    # Of a /forecast, a trace does not say which series and day is meant.
    of_one = sa.select(kept.trace_id).where(kept.trace_id.in_(traces), kept.series_id.is_(None))
    known = set(connection.scalars(of_one.distinct())) if traces else set()
    days = [
        # No forecast is longer, so no earlier row is looked at.
        (
            i,
            item.series_id,
            date.fromordinal(max(1, item.date.toordinal() - MAX_HORIZON)),
            item.date,
        )
        for i, item in enumerate(items)
        if item.date is not None
    ]
    found = set(connection.scalars(_within_forecasts(days))) if days else set()
    return [item.trace_id in known or i in found for i, item in enumerate(items)]


def _within_forecasts(days: list[tuple[Any, ...]]) -> sa.Select[Any]:
    """The numbers of those (number, series, earliest first day, day) that a forecast is about."""
    columns = [
        sa.column("number", sa.Integer),
        sa.column("series_id", sa.String),
        sa.column("earliest", sa.Date),
        sa.column("day", sa.Date),
    ]
    asked = sa.values(*columns).data(days).cte("asked").c
    kept = predictions.c
    about = sa.select(kept.id).where(
        kept.series_id == asked.series_id,
        kept.first_date >= asked.earliest,
        kept.first_date <= asked.day,
        kept.last_date >= asked.day,
    )
    return sa.select(asked.number).where(about.exists())


def _values(connection: sa.Connection, keys: list[str]) -> dict[str, float]:
    found = sa.select(actuals.c.key, actuals.c.value).where(actuals.c.key.in_(keys))
    return {row.key: row.value for row in connection.execute(found)}
