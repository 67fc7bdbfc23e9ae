"""Lay out the totals, orders and scenarios of a `/forecast` beside its forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.http import invalid
from serving.model import Planner, SeriesForecasts, forecast_series
from serving.routes.answers import lay_out_series
from serving.schemas import FieldWarning, ForecastCall, Plan

if TYPE_CHECKING:
    from lib.inference import ServedModel


def plan_forecasts(
    forecaster: ServedModel, call: ForecastCall, plan: Plan, parts: list[SeriesForecasts]
) -> tuple[list[list[dict[str, Any]]], dict[str, Any], list[FieldWarning]]:
    """Return the further fields of each series, part by part, those of the answer, and warnings.

    Raises:
        RequestError: 422, the model cannot draw paths, or has no forecast under a scenario.
    """
    planner = Planner(forecaster, plan, call.horizon, call.levels)
    scenarios = {
        name: list(forecast_series(forecaster, series, call.context))
        for name, series in plan.scenarios.items()
    }
    alone = {
        # A single covariate makes all of the difference.
        name: {
            covariate: list(forecast_series(forecaster, series, call.context))
            if len(split) > 1
            else scenarios[name]
            for covariate, series in split.items()
        }
        for name, split in plan.alone.items()
    }
    further, number = [], 0
    for i, part in enumerate(parts):
        others = {name: of_scenario[i] for name, of_scenario in scenarios.items()}
        single = {
            name: {covariate: of_one[i] for covariate, of_one in split.items()}
            for name, split in alone.items()
        }
        days = {name: _days(forecaster, call, name, other) for name, other in others.items()}
        fields = []
        for at in range(len(part.ids)):
            planned = planner.plan_series(number, call.series[number], part, others, single, at)
            for name, of_scenario in planned.get("scenarios", {}).items():
                of_scenario["forecast"] = days[name][at]["forecast"]
            fields.append(planned)
            number += 1
        further.append(fields)
    groups = planner.groups()
    known = {doubt for part in parts for doubt in part.doubts}
    warnings = [
        FieldWarning(f"scenarios.{name}", doubt)
        for name, of_scenario in scenarios.items()
        for part in of_scenario
        for doubt in part.doubts
        if doubt not in known
    ]
    return further, {"groups": groups} if groups else {}, warnings


def _days(
    forecaster: ServedModel, call: ForecastCall, name: str, part: SeriesForecasts
) -> list[dict[str, Any]]:
    """Return the days of a scenario, laid out."""
    if not np.isfinite(part.quantiles).all():
        raise invalid(f"scenarios.{name}", "the model has no forecast for these numbers")
    return lay_out_series(part, call.horizon, forecaster.contract.quantiles, call.levels)
