"""What the last check of the model found, as `GET /monitoring` tells it.

A check writes `monitoring/latest.json` below VAR_DIR, in the form of `Findings`; nothing is
computed here. Parts a check had no data for are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE = Path("monitoring") / "latest.json"
log = structlog.get_logger()


class _Part(BaseModel):
    # A check may tell more than is described here.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class LivePoint(_Part):
    """Live accuracy over the window that ends on a day, in the units of the series."""

    date: str = Field(description="ISO day")
    mae: float | None = None
    mase: float | None = None
    coverage: float | None = Field(None, description="Per cent of the days inside the interval")
    forecasts: int | None = Field(None, description="Forecast days that have their truth")


class Promise(_Part):
    """What the backtest promised, to compare with."""

    mae: float | None = None
    mase: float | None = None
    coverage: float | None = Field(None, description="Per cent")


class Accuracy(_Part):
    """Live accuracy over time."""

    history: list[LivePoint] = Field(description="Oldest day first")
    promise: Promise | None = None
    interval: float | None = Field(None, description="Share the interval ought to cover, like 0.9")


class Drift(_Part):
    """How far a feature has moved from what the model was trained on."""

    feature: str
    effect: float = Field(description="Size; the larger the further")
    threshold: float | None = None
    drifted: bool


class Alert(_Part):
    """An alert that is open."""

    name: str
    severity: Literal["info", "warning", "critical"]
    since: str | None = Field(None, description="ISO time")
    detail: str = ""


class Figure(_Part):
    """A figure of the business impact."""

    name: str
    value: float | None
    unit: str = ""


class Verdict(_Part):
    """Whether the model ought to be trained anew, and why."""

    retrain: bool
    reasons: list[str] = []


class Findings(_Part):
    """What one check found."""

    checked_at: str = Field(description="ISO time, UTC")
    model_version: int | None = None
    accuracy: Accuracy | None = None
    drift: list[Drift] = Field([], description="Largest effect first")
    alerts: list[Alert] = []
    business: list[Figure] = []
    verdict: Verdict | None = None


class Monitoring(BaseModel):
    """The last check, if there was one."""

    status: Literal["checked", "never checked", "unreadable"]
    detail: str = Field("", description="What to do, where there are no findings")
    findings: Findings | None = None


def last(var_dir: Path) -> dict[str, Any]:
    """The last check's findings, for JSON (`Monitoring`)."""
    try:
        text = (var_dir / FILE).read_bytes()
    except FileNotFoundError:
        nothing = Monitoring(status="never checked", detail="No check of the model has run yet")
        return nothing.model_dump()
    except OSError as error:
        return _unreadable(error.strerror or "it cannot be opened")
    try:
        found = Findings.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return _unreadable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return Monitoring(status="checked", findings=found).model_dump()


def _unreadable(why: str) -> dict[str, Any]:
    log.warning("findings of the last check cannot be read", error=why[:300])
    detail = "What the last check wrote cannot be read; run it again"
    return Monitoring(status="unreadable", detail=detail).model_dump()
