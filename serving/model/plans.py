"""Make the totals, orders and scenarios of a `/forecast`, one series at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.inference import (
    DayRange,
    GroupSum,
    PathSampler,
    RangeSums,
    ServedModel,
    Total,
    choose_order,
    share_difference,
    subtract,
    sum_ranges,
)
from serving.http import invalid
from serving.model.series_forecasts import SeriesForecasts
from serving.schemas import Plan, Series, least_value, name_levels

NO_RANKS = (
    "this model cannot add up days: it was trained by an earlier release or on too short a history "
    "(train it again)"
)
TOO_SHORT = "the history is too short to tell how errors of several days add up"


class Planner:
    """Add up the forecasts of a call, series by series.

    Args:
        forecaster: the model.
        plan: of the call.
        horizon: days to answer.
        levels: of the quantiles to answer.

    Raises:
        RequestError: 422, the model cannot draw paths.
    """

    def __init__(
        self, forecaster: ServedModel, plan: Plan, horizon: int, levels: Sequence[float]
    ) -> None:
        if forecaster.ranks is None:
            untrained = forecaster.contract.is_uncalibrated
            raise invalid("totals", TOO_SHORT if untrained else NO_RANKS)
        self._sampler = PathSampler(forecaster.ranks, forecaster.contract.quantiles)
        self._plan, self._horizon, self._levels = plan, horizon, list(levels)
        self._names = name_levels(levels)
        futures = (None, *plan.scenarios)
        self._sums = {
            group.name: {name: GroupSum(group.ranges, group.start) for name in futures}
            for group in plan.groups
        }

    def plan_series(
        self,
        number: int,
        series: Series,
        base: SeriesForecasts,
        scenarios: dict[str, SeriesForecasts],
        alone: dict[str, dict[str, SeriesForecasts]],
        at: int,
    ) -> dict[str, Any]:
        """Return the fields of one series, and add it to its groups.

        Args:
            number: of the series in the call.
            series: as it was read.
            base: its part of the forecasts.
            scenarios: that part under each scenario.
            alone: that part with one covariate alone as in a scenario, by the name of both.
            at: its place in the part.
        """
        floor, start = least_value(series), base.first[at]
        quantiles = base.quantiles[at, : self._horizon]
        paths = self._sampler.draw(series.name, quantiles, floor=floor)
        totals = self._add(number, None, start, base.means[at], paths)
        fields: dict[str, Any] = {}
        if totals:
            fields["totals"] = self._lay_out(totals)
        if self._plan.order is not None:
            fields["order"] = self._order(number, start, base.means[at], paths)
        if scenarios:
            fields["scenarios"] = {}
        for name, part in scenarios.items():
            other = part.quantiles[at, : self._horizon]
            paths = self._sampler.draw_scenario(series.name, quantiles, other, floor=floor)
            parts = _parts(base, part, alone.get(name, {}), at, multiply=np.isfinite(floor))
            after = self._add(number, name, start, part.means[at], paths, parts)
            fields["scenarios"][name] = self._compare(totals, after)
        return fields

    def groups(self) -> dict[str, Any]:
        """Return the fields of the groups, when all series have been added."""
        answer = {}
        for group in self._plan.groups:
            sums = self._sums[group.name]
            totals = sums[None].totals()
            fields: dict[str, Any] = {"series": len(group.members), "totals": self._lay_out(totals)}
            if self._plan.scenarios:
                fields["scenarios"] = {
                    name: self._compare(totals, sums[name].totals())
                    for name in self._plan.scenarios
                }
            answer[group.name] = fields
        return answer

    def _add(
        self,
        number: int,
        future: str | None,
        start: np.datetime64,
        means: np.ndarray,
        paths: np.ndarray,
        parts: dict[str, np.ndarray] | None = None,
    ) -> list[Total]:
        """Return the totals of a series under a future, and add it to its groups."""
        known: dict[tuple[tuple[DayRange, ...], int], RangeSums] = {}

        def sums_of(ranges: tuple[DayRange, ...], first: np.datetime64) -> RangeSums:
            # Most groups have the same ranges: added up for each, fifty groups of a few bytes
            # would cost more than the forecasts.
            key = ranges, int((first - start).astype(np.int64))
            if key not in known:
                known[key] = sum_ranges(ranges, means, paths, parts, ahead=key[1])
            return known[key]

        for group in self._plan.groups:
            if number in group.members:
                self._sums[group.name][future].add_ranges(sums_of(group.ranges, group.start))
        ranges = self._plan.ranges[number]
        if not ranges:
            return []
        total = GroupSum(ranges, start)
        total.add_ranges(sums_of(ranges, start))
        return total.totals()

    def _order(
        self, number: int, start: np.datetime64, means: np.ndarray, paths: np.ndarray
    ) -> dict[str, Any]:
        wanted = self._plan.order
        if wanted is None:
            return {}
        stock = float(self._plan.stock[number])
        order = choose_order(
            paths[:, : wanted.lead_time].sum(axis=1),
            mean=float(means[: wanted.lead_time].sum()),
            stock=stock,
            service_level=wanted.service_level,
            cost_over=wanted.cost_over,
            cost_under=wanted.cost_under,
        )
        lead = DayRange(1, wanted.lead_time)
        return {
            "lead_time": lead.last,
            "first": str(start),
            "last": str(start + lead.last - 1),
            "service_level": order.service_level,
            "stock": stock,
            "quantity": order.quantity,
            "covers": order.covers,
            "expected_demand": order.expected_demand,
            "expected_shortage": order.expected_shortage,
            "expected_leftover": order.expected_leftover,
        }

    def _compare(self, before: list[Total], after: list[Total]) -> dict[str, Any]:
        pairs = zip(after, before, strict=True)
        difference = self._lay_out([subtract(total, other) for total, other in pairs])
        for fields, total in zip(difference, after, strict=True):
            if total.parts:
                fields["by_covariate"] = dict(total.parts)
        return {"totals": self._lay_out(after), "difference": difference}

    def _lay_out(self, totals: list[Total]) -> list[dict[str, Any]]:
        if not totals:
            return []
        # One call for all: most of the time of a quantile is its call.
        quantiles = np.quantile(np.stack([total.paths for total in totals]), self._levels, axis=1)
        return [
            {
                "days": total.days.days,
                "first": str(total.first),
                "last": str(total.last),
                "mean": total.mean,
                "quantiles": dict(zip(self._names, values, strict=True)),
            }
            for total, values in zip(totals, quantiles.T.tolist(), strict=True)
        ]


def _parts(
    base: SeriesForecasts,
    scenario: SeriesForecasts,
    alone: dict[str, SeriesForecasts],
    at: int,
    *,
    multiply: bool,
) -> dict[str, np.ndarray]:
    """Return what each covariate adds to the days of a series, by its name."""
    if not alone:
        return {}
    means = np.stack([part.means[at] for part in alone.values()])
    parts = share_difference(base.means[at], scenario.means[at], means, multiply=multiply)
    return dict(zip(alone, parts, strict=True))
