"""The answer of `/monitoring`: what the last check of the model found.

A check writes `monitoring/latest.json` below VAR_DIR, in the form of `Findings`. Parts that it had
no data for are left out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    # A check may write more than is described here.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class LivePoint(_Part):
    """Live accuracy over the window that ends on a day, in the units of the series."""

    date: str = Field(description="ISO day")
    mae: float | None = None
    mase: float | None = None
    coverage: float | None = Field(None, description="Per cent of the days inside the interval")
    forecasts: int | None = Field(None, description="Forecast days that have their actual")


class ExpectedError(_Part):
    """The errors that the backtest lets expect."""

    mae: float | None = None
    mase: float | None = None
    coverage: float | None = Field(None, description="Per cent")


class Accuracy(_Part):
    """Live accuracy over time."""

    history: list[LivePoint] = Field(description="Oldest day first")
    promise: ExpectedError | None = None
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


class Recommendation(_Part):
    """Whether retraining is recommended, and why."""

    retrain: bool
    reasons: list[str] = []


class Findings(_Part):
    """What one check found."""

    checked_at: str = Field(description="ISO time, UTC")
    model_name: str | None = Field(None, description="Registered name")
    model_version: int | None = None
    accuracy: Accuracy | None = None
    drift: list[Drift] = Field([], description="Largest effect first")
    alerts: list[Alert] = []
    business: list[Figure] = []
    verdict: Recommendation | None = None


class Monitoring(BaseModel):
    """The last check, if there was one."""

    status: Literal["checked", "never checked", "unreadable"]
    detail: str = Field("", description="What to do, where there are no findings")
    findings: Findings | None = None
