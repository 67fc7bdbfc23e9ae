"""Bodies and answers of `/predict` and `/forecast`.

These models describe the bodies. What checks the rows is ten times faster and gives the same
verdicts: `serving.schemas.feature_rows` and `serving.schemas.histories`; tests compare the two.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from lib.data import WINDOW_DAYS
from lib.features import MAX_HORIZON
from serving.schemas.fields import ROW, STRICT, LongName, Name, SeriesDay, Share, Unit
from serving.schemas.planning import (
    GROUPS,
    RANGES,
    SCENARIOS,
    Days,
    GroupForecast,
    GroupScenario,
    Members,
    OrderForecast,
    OrderRequest,
    TotalForecast,
)

SERIES = 1_000  # of one /forecast
DAYS = 4_000  # of one history: eleven years
ROWS = 500_000  # of one /forecast


class FeatureRow(BaseModel):
    """The eleven features of one day, raw units. Null is missing or not known."""

    model_config = STRICT

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


class FieldDoubt(BaseModel):
    """A doubt about one field of the request."""

    field: str = Field(description="Such as series[3].history")
    detail: str


Warnings = Annotated[
    list[FieldDoubt],
    Field(description="Where the forecast may be wrong; left out where nothing is doubtful"),
]


Source = Annotated[
    Literal["pretrained"] | None,
    Field(
        description="What has forecast, where it is no registered version: the pretrained network, "
        "which answers before anything was trained; its model_version is 0"
    ),
]


class Prediction(BaseModel):
    """The forecast of the next day, in the units of the series."""

    prediction: float = Field(description="The median")
    quantiles: dict[str, float] = Field(description="Value by level, rising")
    trace_id: str = Field(description="Of `traceparent` if one was sent; for /actuals and others")
    model_version: int
    source: Source = None
    warnings: Warnings = []


Cell = float | bool | Annotated[str, Field(max_length=1_000)] | None
Static = Annotated[
    dict[str, Cell],
    Field(description="Static covariates of the model, by name", examples=[{"region": "south"}]),
]


_DAY: JsonDict = {"date": "2026-01-05", "value": 100.0, "price": 9.5, "weather": "rain"}


class HistoryRow(BaseModel):
    """One day of a series. Days left out count as missing.

    A covariate of the model (`GET /model`) stands under its own name: a number, an event (0 to 1,
    true or false) or the name of a category.
    """

    model_config = ConfigDict(**ROW, json_schema_extra={"examples": [_DAY]})
    __pydantic_extra__: dict[str, Cell] = Field(init=False)  # ty: ignore[incompatible-mutable-override]

    date: SeriesDay
    value: float | None
    fator_externo: float | None = None
    evento_especial: Share | None = None


class FutureRow(BaseModel):
    """What is known already of a day to be forecast, covariates of the model by their names."""

    model_config = ROW
    __pydantic_extra__: dict[str, Cell] = Field(init=False)  # ty: ignore[incompatible-mutable-override]

    date: SeriesDay
    fator_externo: float | None = None
    evento_especial: Share | None = None


class SeriesHistory(BaseModel):
    """One series: its history, oldest day first, and what is known of the days after it."""

    model_config = STRICT

    series_id: LongName = "series"
    history: list[HistoryRow] = Field(min_length=1, max_length=DAYS)
    future: list[FutureRow] = Field(default=[], max_length=MAX_HORIZON)
    static: Static = {}


Rows = Annotated[list[FutureRow], Field(min_length=1, max_length=MAX_HORIZON)]
Scenario = Annotated[
    Rows | dict[LongName, Rows],
    Field(description="Rows as in `future`, of all series or by their names; the rest stays"),
]


class ForecastRequest(BaseModel):
    """Either `history` (and `future`, `series_id`) of one series, or `series` for several."""

    model_config = ConfigDict(
        **STRICT,
        json_schema_extra={"oneOf": [{"required": ["history"]}, {"required": ["series"]}]},
    )

    series_id: LongName = "series"
    history: list[HistoryRow] = Field(default=[], max_length=DAYS)
    future: list[FutureRow] = Field(default=[], max_length=MAX_HORIZON)
    static: Static = {}
    series: list[SeriesHistory] = Field(default=[], max_length=SERIES)
    horizon: int | None = Field(
        default=None, ge=1, le=MAX_HORIZON, description="Days; default: the model's longest"
    )
    levels: list[Annotated[float, Field(gt=0, lt=1)]] | None = Field(
        default=None, min_length=1, max_length=99, description="Of the model's; default: all"
    )
    context: int | None = Field(
        default=None, ge=1, description="Days of history to look at; default: the most it can"
    )

    totals: list[Days] | None = Field(
        default=None,
        min_length=1,
        max_length=RANGES,
        description="Sums over days, of each series",
        examples=[[7, 28, "8-14", "weeks"]],
    )
    groups: dict[LongName, Members] | None = Field(
        default=None,
        min_length=1,
        max_length=GROUPS,
        description="Sums over series as well, by the name of the group",
        examples=[{"north": ["shop 1", "shop 2"], "all": True}],
    )
    order: OrderRequest | None = Field(
        default=None,
        description="How much to order of each series",
        examples=[{"lead_time": 7, "service_level": 0.95, "stock": 20}],
    )
    scenarios: dict[Name, Scenario] | None = Field(
        default=None,
        min_length=1,
        max_length=SCENARIOS,
        description="Other futures, by name, each compared with the forecast",
        examples=[{"promotion": [{"date": "2026-04-06", "evento_especial": 1.0}]}],
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if bool(self.history) == bool(self.series):
            raise ValueError("expected either history or series")
        return self


class DayForecast(BaseModel):
    """The forecast of one day."""

    date: date
    prediction: float = Field(description="The median")
    mean: float = Field(description="The expected value: sum it for a total")
    quantiles: dict[str, float]


class ScenarioForecast(GroupScenario):
    """The forecast of a series under a scenario."""

    forecast: list[DayForecast]


class SeriesForecast(BaseModel):
    """The forecast of one series, one entry a day; with what else was asked for."""

    series_id: str
    forecast: list[DayForecast]
    totals: list[TotalForecast] | None = None
    order: OrderForecast | None = None
    scenarios: dict[str, ScenarioForecast] | None = None


class Forecast(BaseModel):
    """Forecasts, in the order in which the series were sent."""

    forecasts: list[SeriesForecast]
    groups: dict[str, GroupForecast] | None = None
    levels: list[float]
    trace_id: str
    model_version: int
    source: Source = None
    warnings: Warnings = []
