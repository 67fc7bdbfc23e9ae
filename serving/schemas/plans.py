"""Read what a `/forecast` asks for beside the days: totals, groups, orders and scenarios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from lib.inference import Contract, DayRange, align_ranges, read_ranges
from serving.http import invalid
from serving.schemas.columns import EVENT, FACTOR, VALUE
from serving.schemas.covariates import CovariateFields
from serving.schemas.forecasts import SERIES, ForecastRequest, FutureRow
from serving.schemas.histories import Series
from serving.schemas.planning import RANGES, TOTALS, OrderRequest
from serving.schemas.plausibility import FieldWarning, check_factor

Rows = Sequence[FutureRow]


@dataclass(frozen=True)
class GroupPlan:
    """A group of series to be added up.

    Attributes:
        name: of the group.
        members: numbers of its series.
        start: the first day, from which its ranges are counted.
        ranges: of days.
    """

    name: str
    members: frozenset[int]
    start: np.datetime64
    ranges: tuple[DayRange, ...]


@dataclass(frozen=True)
class Plan:
    """What is asked for beside the days.

    Attributes:
        ranges: of days, for each series.
        groups: sums over series.
        order: of each series, None for none.
        stock: (series,) for the order.
        scenarios: the series with the planned days of each scenario, by its name.
        alone: of each scenario, the series with one covariate alone as there, by its name; none
            where that would be too many forecasts.
        warnings: of the scenarios' numbers.
    """

    ranges: tuple[tuple[DayRange, ...], ...]
    groups: tuple[GroupPlan, ...]
    order: OrderRequest | None
    stock: np.ndarray
    scenarios: dict[str, list[Series]]
    alone: dict[str, dict[str, list[Series]]]
    warnings: tuple[FieldWarning, ...]


def read_plan(
    options: ForecastRequest, series: list[Series], contract: Contract, horizon: int
) -> Plan | None:
    """Read and check the fields totals, groups, order and scenarios.

    Args:
        options: the fields of a body.
        series: of the body.
        contract: of the model.
        horizon: days to answer.

    Returns:
        None where none of them was sent.

    Raises:
        RequestError: 422, naming the field.
    """
    if not (options.totals or options.groups or options.order or options.scenarios):
        return None
    count, others = len(series), len(options.scenarios or {})
    if (1 + others) * count > SERIES:
        raise invalid(
            "scenarios",
            f"expected at most {SERIES} forecasts in one call, got {count} series times "
            f"{1 + others} futures",
        )
    if options.order and options.order.lead_time > horizon:
        raise invalid(
            "order.lead_time",
            f"expected at most {horizon} days, the horizon, got {options.order.lead_time}",
        )
    starts = np.array([one.first + one.days for one in series])
    names = {one.name: i for i, one in enumerate(series)}
    ranges = {start: _ranges(options, horizon, start) for start in np.unique(starts)}
    groups = _groups(options, names, starts, horizon)
    total = sum(len(group.ranges) for group in groups) * (1 + others)
    if total > TOTALS:
        raise invalid("groups", f"expected at most {TOTALS} totals of groups, got {total}")
    scenarios, warnings = _scenarios(options, series, names, contract)
    alone = {name: _split(series, planned) for name, planned in scenarios.items()}
    further = sum(len(found) for found in alone.values() if len(found) > 1)
    return Plan(
        ranges=tuple(ranges[start] for start in starts),
        groups=groups,
        order=options.order,
        stock=_stock(options.order, names),
        scenarios=scenarios,
        alone=alone if (1 + others + further) * count <= SERIES else {},
        warnings=warnings,
    )


def _ranges(options: ForecastRequest, horizon: int, start: np.datetime64) -> tuple[DayRange, ...]:
    days = options.totals
    if days is None:
        wanted = options.groups or options.scenarios
        days = list(dict.fromkeys([min(7, horizon), horizon])) if wanted else []
    found: list[DayRange] = []
    for i, item in enumerate(days):
        try:
            found += read_ranges([item], horizon, start)
        except ValueError as error:
            raise invalid(f"totals[{i}]", str(error)) from None
    ranges = tuple(dict.fromkeys(found))
    if len(ranges) > RANGES:
        raise invalid("totals", f"expected at most {RANGES} ranges of days, got {len(ranges)}")
    return ranges


def _groups(
    options: ForecastRequest, names: dict[str, int], starts: np.ndarray, horizon: int
) -> tuple[GroupPlan, ...]:
    groups = []
    for name, listed in (options.groups or {}).items():
        field = f"groups.{name[:60]}"
        members = range(len(starts)) if listed is True else _numbers(listed, names, field)
        if not members:
            raise invalid(field, "expected at least one series")
        of_members = starts[list(members)]
        ranges = _ranges(options, horizon, of_members.max())
        inside, beyond = align_ranges(ranges, of_members, horizon)
        if beyond:
            raise invalid(
                field,
                f"its series end on different days: days {beyond[0].first}-{beyond[0].last} after "
                f"{of_members.max() - 1} are not in the forecast of all of them; send shorter "
                "totals, or histories up to the same day",
            )
        groups.append(GroupPlan(name, frozenset(members), of_members.max(), tuple(inside)))
    return tuple(groups)


def _numbers(listed: Iterable[str], names: dict[str, int], field: str) -> list[int]:
    """Return the numbers of series by their names, in a list or as the keys of an object."""
    for i, name in enumerate(listed):
        if name not in names:
            place = f"{field}.{name[:60]}" if isinstance(listed, dict) else f"{field}[{i}]"
            raise invalid(place, f"expected the name of a series of this call, got {name[:60]!r}")
    return [names[name] for name in listed]


def _stock(order: OrderRequest | None, names: dict[str, int]) -> np.ndarray:
    stock = np.zeros(len(names))
    if order is None:
        return stock
    if not isinstance(order.stock, dict):
        return stock + order.stock
    stock[_numbers(order.stock, names, "order.stock")] = list(order.stock.values())
    return stock


def _scenarios(
    options: ForecastRequest, series: list[Series], names: dict[str, int], contract: Contract
) -> tuple[dict[str, list[Series]], tuple[FieldWarning, ...]]:
    """Return the series of each scenario, and warnings."""
    scenarios: dict[str, list[Series]] = {}
    covariates = CovariateFields.of(contract)
    warnings: list[FieldWarning] = []
    for name, planned in (options.scenarios or {}).items():
        field = f"scenarios.{name}"
        if isinstance(planned, dict):
            numbers = _numbers(planned, names, field)
            rows: dict[int, Rows] = dict(zip(numbers, planned.values(), strict=True))
            for of_series, listed in planned.items():
                warnings += _check_rows(listed, covariates, f"{field}.{of_series[:60]}")
        else:
            rows = dict.fromkeys(range(len(series)), planned)
            warnings += _check_rows(planned, covariates, field)
        scenarios[name] = [
            _replan(one, rows[i], covariates, contract.horizon, field) if i in rows else one
            for i, one in enumerate(series)
        ]
        for i in list(rows)[:1] if not isinstance(planned, dict) else rows:
            ahead = scenarios[name][i].columns[FACTOR][-contract.horizon :]
            warnings += check_factor(ahead, contract, f"{field}.{FACTOR}")
    return scenarios, tuple(warnings)


def _check_rows(rows: Rows, covariates: CovariateFields, field: str) -> list[FieldWarning]:
    """Refuse rows that a scenario cannot have, and warn of the others' categories."""
    days: set[date] = set()
    cells = [row.model_extra or {} for row in rows]
    for i, (row, sent) in enumerate(zip(rows, cells, strict=True)):
        for name in sent.keys() - set(covariates.known):
            allowed = ["date", FACTOR, EVENT, *covariates.known]
            raise invalid(f"{field}[{i}].{name[:60]}", covariates.refusal(name, allowed))
        if row.date in days:
            raise invalid(f"{field}[{i}].date", f"{row.date} is there twice; expected it once")
        days.add(row.date)
    return covariates.read_rows(cells, covariates.known, field)[1]


def _replan(
    series: Series, rows: Rows, covariates: CovariateFields, horizon: int, field: str
) -> Series:
    """Return a series with other planned days; what the rows leave out stays."""
    columns = dict(series.columns)
    cells = [row.model_extra or {} for row in rows]
    planned, _ = covariates.read_rows(cells, covariates.known, field)
    last = series.first + series.days - 1
    for i, row in enumerate(rows):
        step = int((np.datetime64(row.date, "D") - last).astype(np.int64))
        if not 1 <= step <= horizon:
            raise invalid(
                f"{field}[{i}].date",
                f"expected a day from {last + 1} to {last + horizon}, the {horizon} after the "
                f"history of {series.name!r}",
            )
        known = {FACTOR: row.fator_externo, EVENT: row.evento_especial}
        known |= {name: column[i] for name, column in planned.items()}
        for column, value in known.items():
            if value is not None and not np.isnan(value):
                if columns[column] is series.columns[column]:
                    columns[column] = columns[column].copy()
                columns[column][series.days - 1 + step] = value
    return replace(series, columns=columns)


def _split(series: list[Series], planned: list[Series]) -> dict[str, list[Series]]:
    """Return the series with each covariate that a scenario changes alone as there, by its name."""
    names = [
        name
        for name in series[0].columns
        if any(
            not np.array_equal(one.columns[name], other.columns[name], equal_nan=True)
            for one, other in zip(series, planned, strict=True)
        )
    ]
    return {
        name: [
            replace(one, columns=one.columns | {name: other.columns[name]})
            for one, other in zip(series, planned, strict=True)
        ]
        for name in names
    }


def least_value(series: Series) -> float:
    """Return 0 for a series without a negative value among its days, else -inf."""
    lowest = np.nanmin(series.columns[VALUE][: series.days])
    return 0.0 if lowest >= 0 else -np.inf
