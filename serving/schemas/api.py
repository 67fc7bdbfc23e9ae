"""What goes in and out, as pydantic models: they make `/openapi.json` and word the refusals.

`/predict` and `/forecast` check their rows as one array (`serving.schemas.feature_rows`, `serving.schemas.histories`), which
is ten times faster; tests hold both ways of checking together.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator

from lib import features as ft
from lib.data import WINDOW_DAYS, Panel
from serving.records.actuals import Day, LongName

SERIES = 1_000  # of one /forecast
DAYS = 4_000  # of one history: eleven years
ROWS = 500_000  # of one /forecast
_FIRST = date(2026, 1, 5)  # of the examples
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
Unit = Annotated[float, Field(ge=-1, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _wave(days: int) -> np.ndarray:
    """An example of a series: a level, a week, a little trend. → (days,)."""
    t = np.arange(days)
    return np.round(100 + 10 * np.sin(2 * np.pi * t / 7) + 0.05 * t, 2)


def example_rows(days: int = WINDOW_DAYS) -> list[dict[str, float | None]]:
    """Feature rows of consecutive days as a client would compute them."""
    before = 30  # so that the rolling statistics of the first row are whole
    n = days + before
    panel = Panel(
        ids=("series",),
        offsets=np.array([0, n]),
        dates=np.datetime64(_FIRST, "D") + np.arange(-before, days),
        values=_wave(n),
        factor=np.round(5 + np.cos(np.arange(n) / 9), 2),
        event=np.zeros(n),
    )
    rows = np.round(ft.compute_features(panel)[before:], 6).tolist()
    return [dict(zip(ft.FEATURES, row, strict=True)) for row in rows]


def example_history(days: int = 90) -> list[dict[str, Any]]:
    """Raw history; one day is missing."""
    values: list[float | None] = list(_wave(days).tolist())
    values[40] = None
    return [
        {"date": str(_FIRST + timedelta(days=i)), "value": value} for i, value in enumerate(values)
    ]


class FeatureRow(BaseModel):
    """The eleven features of one day, raw units. What is null was missing or is not known."""

    model_config = _STRICT

    dia_semana_sin: Unit = Field(description="sin(2π·weekday/7), Monday is 0")
    dia_semana_cos: Unit
    mes_sin: Unit = Field(description="sin(2π·month/12), January is 1")
    mes_cos: Unit
    media_movel_7: float | None = Field(description="Mean of the last 7 days, this one included")
    media_movel_30: float | None
    desvio_movel_7: Annotated[float, Field(ge=0)] | None = Field(
        description="Standard deviation of the last 7 days, n-1"
    )
    lag_1: float | None = Field(description="Value of the day before")
    lag_7: float | None
    fator_externo: float | None
    evento_especial: Share | None


class PredictRequest(BaseModel):
    """Feature rows of the last days, oldest first; the forecast is of the day after the last."""

    model_config = ConfigDict(strict=True, extra="forbid")

    sequence: list[FeatureRow] = Field(min_length=WINDOW_DAYS, max_length=WINDOW_DAYS)


def predict_request(length: Callable[[], int]) -> type[PredictRequest]:
    """PredictRequest whose sequence must have `length()` rows, the number the model wants now."""

    def check(rows: list[FeatureRow]) -> list[FeatureRow]:
        if len(rows) != length():
            raise ValueError(f"expected {length()} rows, got {len(rows)}")
        return rows

    annotation: Any = Annotated[list[FeatureRow], AfterValidator(check)]
    model = create_model("PredictRequest", __base__=PredictRequest, sequence=(annotation, ...))
    example: Any = {"openapi_extra": {"example": {"sequence": example_rows()}}}
    model.model_config.update(example)
    return model


class Prediction(BaseModel):
    """The forecast of the next day, in the units of the series."""

    prediction: float = Field(description="The median")
    quantiles: dict[str, float] = Field(description="Level → value, rising")
    trace_id: str = Field(description="Of `traceparent` if one was sent; for /actuals and others")
    model_version: int


class HistoryRow(BaseModel):
    """One day of a series. Days left out count as missing."""

    model_config = _STRICT

    date: Day
    value: float | None
    fator_externo: float | None = None
    evento_especial: Share | None = None


class FutureRow(BaseModel):
    """What is known already of a day to be forecast."""

    model_config = _STRICT

    date: Day
    fator_externo: float | None = None
    evento_especial: Share | None = None


class SeriesHistory(BaseModel):
    """One series: its history, oldest day first, and what is known of the days after it."""

    model_config = _STRICT

    series_id: LongName = "series"
    history: list[HistoryRow] = Field(min_length=1, max_length=DAYS)
    future: list[FutureRow] = Field(default=[], max_length=ft.MAX_HORIZON)


class ForecastRequest(BaseModel):
    """Either `history` (and `future`, `series_id`) of one series, or `series` for several."""

    model_config = ConfigDict(
        **_STRICT,
        json_schema_extra={"oneOf": [{"required": ["history"]}, {"required": ["series"]}]},
    )

    series_id: LongName = "series"
    history: list[HistoryRow] = Field(default=[], max_length=DAYS)
    future: list[FutureRow] = Field(default=[], max_length=ft.MAX_HORIZON)
    series: list[SeriesHistory] = Field(default=[], max_length=SERIES)
    horizon: int | None = Field(
        default=None, ge=1, le=ft.MAX_HORIZON, description="Days; default: the model's longest"
    )
    levels: list[Annotated[float, Field(gt=0, lt=1)]] | None = Field(
        default=None, min_length=1, max_length=99, description="Of the model's; default: all"
    )
    context: int | None = Field(
        default=None, ge=1, description="Days of history to look at; default: the most it can"
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if bool(self.history) == bool(self.series):
            raise ValueError("expected either history or series")
        return self


class DayForecast(BaseModel):
    """The forecast of one day."""

    date: date
    prediction: float
    quantiles: dict[str, float]


class SeriesForecast(BaseModel):
    """The forecast of one series, one entry a day."""

    series_id: str
    forecast: list[DayForecast]


class Forecast(BaseModel):
    """Forecasts in the order of the series asked about."""

    forecasts: list[SeriesForecast]
    levels: list[float]
    trace_id: str
    model_version: int


class Health(BaseModel):
    """Whether a model is in memory, and which."""

    status: Literal["ok", "unavailable"]
    model_version: int | None
    source: Literal["production", "staging", "last-known-good"] | None
    age: float | None = Field(description="Seconds since the model was loaded")
    registry: Literal["reachable", "unreachable", "not asked yet"]
    detail: str = ""


class Live(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class ModelCard(BaseModel):
    """What the served model is, expects and has been measured at."""

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


class FieldError(BaseModel):
    """One thing that is wrong with a request, at most twenty of them are told."""

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
