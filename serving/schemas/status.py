"""Answers of `/health` and `/model`, and the problem document of every call."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether a model is in memory, and which."""

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="degraded: forecasts are answered, and something else is wrong; see detail"
    )
    model_version: int | None
    source: Literal["production", "staging", "last-known-good", "pretrained"] | None
    age: float | None = Field(description="Seconds since the model was loaded")
    registry: Literal["reachable", "unreachable", "not asked yet"]
    store: Literal["ok", "failing"] = Field(
        "ok", description="Whether the last predictions could be stored"
    )
    detail: str = ""


class Live(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class ModelCard(BaseModel):
    """The served model: what it expects, and its accuracy in the backtest."""

    name: str
    model_version: int
    source: str
    loaded_at: str
    horizon: int = Field(description="Days")
    context_length: int = Field(description="Rows of a /predict sequence")
    max_context: int
    quantiles: list[float]
    features: list[str]
    future: list[str]
    training_span: list[str]
    metrics: dict[str, float]
    scaling: dict[str, float | None]
    fingerprint: str = Field(description="SHA-256 of the training data")
    format_version: int
    settings: dict[str, Any]
    covariates: list[dict[str, Any]] = Field(
        default=[],
        description="Name, role (known, past or static), kind (number, event, category or holiday) "
        "and labels of the columns that it takes by name; holidays it adds by itself",
    )
    learned: list[str] | None = Field(
        default=None,
        description="Names of the covariates known ahead whose effects it has learned, "
        "fator_externo and evento_especial among them; null where it does not say",
    )
    baselines: dict[str, dict[str, float]] = Field(
        default={},
        description="Scores of the simple forecasts in the same backtest, by name; empty where the "
        "registry has none or does not answer",
    )
    any_covariates: bool = Field(
        default=False,
        description="Whether /forecast takes covariates of any name: before anything was trained, "
        "their effects are learned from what a call sends",
    )
    totals: bool = Field(default=False, description="Whether it adds up days and series")


class FieldError(BaseModel):
    """One thing that is wrong with a request. An answer names at most twenty."""

    field: str = Field(description="Such as sequence[12].lag_1; empty for the whole body")
    detail: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    trace_id: str | None = None
    errors: list[FieldError] = []
