"""The fields of `/forecast` that ask how much is needed: totals, groups, orders."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from serving.schemas.fields import STRICT, LongName

RANGES = 20  # of days, in one call
GROUPS = 50
SCENARIOS = 5
TOTALS = 1_000  # of groups, in all: ranges times groups times scenarios

_COST_RATIO = 1e9  # beyond it, the service level is 0 or 1 for a computer

# Beside larger numbers the digits of a demand are lost.
Stock = Annotated[float, Field(ge=-1e15, le=1e15)]
Cost = Annotated[float, Field(gt=0, le=1e15)]
Days = Annotated[
    int | Annotated[str, Field(max_length=20, pattern=r"^(\d{1,3}(-\d{1,3})?|weeks|months)$")],
    Field(description="The first days (7), a range (8-14), or calendar weeks or months"),
]
Members = Annotated[
    list[LongName] | Literal[True],
    Field(description="Names of series, or true for all of them"),
]


class OrderRequest(BaseModel):
    """An order for a lead time: by a service level, or by the costs of too much and too little."""

    model_config = STRICT

    lead_time: int = Field(ge=1, le=365, description="Days that the order has to last")
    service_level: float | None = Field(
        default=None, gt=0, lt=1, description="Wanted probability that it does"
    )
    cost_over: Cost | None = Field(default=None, description="Of a unit that is left")
    cost_under: Cost | None = Field(default=None, description="Of a unit that is missing")
    stock: Stock | dict[LongName, Stock] = Field(
        default=0.0, description="At hand or on its way: of every series, or by its name"
    )

    @model_validator(mode="after")
    def _level_or_costs(self) -> Self:
        costs = [self.cost_over is not None, self.cost_under is not None]
        if (self.service_level is not None) == any(costs) or any(costs) != all(costs):
            raise ValueError("expected either service_level, or cost_over and cost_under")
        if self.cost_over is not None and self.cost_under is not None:
            ratio = self.cost_under / self.cost_over
            if not 1 / _COST_RATIO <= ratio <= _COST_RATIO:
                raise ValueError(
                    f"expected cost_over and cost_under within a factor of {_COST_RATIO:g}, got "
                    f"{self.cost_over:g} and {self.cost_under:g}"
                )
        return self


class TotalForecast(BaseModel):
    """The forecast of a sum over days."""

    days: int
    first: date
    last: date
    mean: float
    quantiles: dict[str, float] = Field(description="Value by level, rising")


class OrderForecast(BaseModel):
    """An order, and what to expect of it over the lead time, in the unit of the series."""

    lead_time: int
    first: date
    last: date
    service_level: float = Field(description="As it was sent, or cost_under / (both costs)")
    stock: float
    quantity: float
    covers: float = Field(description="Probability that stock and order cover the demand")
    expected_demand: float
    expected_shortage: float
    expected_leftover: float


class DifferenceForecast(TotalForecast):
    """The forecast of a difference from the forecast, and what makes it up."""

    by_covariate: dict[str, float] | None = Field(
        default=None,
        description="Of the mean, the part of each covariate that the scenario changes; they add "
        "up to it. Left out where the call would take more than 1,000 forecasts",
    )


class GroupScenario(BaseModel):
    """The totals of a group under a scenario, and their differences from the forecast."""

    totals: list[TotalForecast]
    difference: list[DifferenceForecast]


class GroupForecast(BaseModel):
    """The totals of a group of series."""

    series: int
    totals: list[TotalForecast]
    scenarios: dict[str, GroupScenario] | None = None
