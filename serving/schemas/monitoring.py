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


class Shift(_Part):
    """What has moved in a feature, in its own units."""

    kind: Literal["number", "event", "category"]
    before: float | None = Field(None, description="Mean, or share of days, in the reference")
    now: float | None = None
    label: str = Field("", description="The category whose share has moved most")
    unknown: list[str] = Field([], description="Categories that the model has not learned")


class Drift(_Part):
    """How far a feature or covariate has moved from what the model was trained on."""

    feature: str
    effect: float = Field(description="Size; the larger the further")
    threshold: float | None = None
    drifted: bool
    flags: list[str] = Field([], description="Of distribution, missing, range and unknown")
    shift: Shift | None = None


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


class Evidence(_Part):
    """How much a check saw."""

    forecasts: int = Field(description="Forecast days of the window")
    actuals: int = Field(description="How many of them have their actual")
    days: int
    series: int
    enough: bool = Field(description="Whether that is enough to call the forecasts healthy")
    reason: str = Field("", description="Why it is not")


class Stability(_Part):
    """How much the forecast of a day moves from one forecast of it to the next."""

    revisions: int
    moved: float | None = Field(None, description="Per cent of the forecasts")


class Day(_Part):
    """A day of a series, with the last forecast that was made of it."""

    date: str = Field(description="ISO day")
    actual: float | None = None
    median: float | None = None
    lower: float | None = Field(None, description="Of the 80 % interval")
    upper: float | None = None


class PartScore(_Part):
    """The accuracy of a series, or of a group of series."""

    name: str
    forecasts: int
    series: int = 1
    mae: float | None = None
    wape: float | None = Field(None, description="Per cent")
    mase: float | None = None
    coverage: float | None = Field(None, description="Share of days inside the 80 % interval")
    history: list[Day] = Field([], description="The last weeks; of series only")


class Anomaly(_Part):
    """An actual of the last day that is outside the interval of its forecast."""

    series_id: str
    date: str = Field(description="ISO day")
    actual: float
    lower: float
    upper: float
    side: Literal["above", "below"]
    days: int = Field(description="In a row on this side")
    persistent: bool


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
    status: Literal["ok", "alarm", "unknown"] | None = Field(
        None, description="unknown: not enough evidence for a verdict"
    )
    evidence: Evidence | None = None
    stability: Stability | None = None
    worst_series: list[PartScore] = Field([], description="Largest errors first")
    groups: list[PartScore] = Field([], description="Of series; worst first")
    anomalies: list[Anomaly] = Field([], description="Persistent ones first")


class Monitoring(BaseModel):
    """The last check, if there was one."""

    status: Literal["checked", "never checked", "unreadable"]
    detail: str = Field("", description="Why there are no findings, or why there may be later ones")
    findings: Findings | None = None
