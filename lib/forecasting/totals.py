"""Totals of a forecast: sums over days and series, sample paths, and orders for a lead time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.data import (
    Panel,
    SeriesError,
    list_names,
)
from lib.forecasting.history import Ahead
from lib.forecasting.tables import forecast_quantiles, least_values, means_of
from lib.inference import (
    DayRange,
    GroupSum,
    PathSampler,
    ServedModel,
    Total,
    align_ranges,
    choose_order,
    read_ranges,
)
from lib.pipeline import ParameterError

ALL = "all"
Days = Sequence[int | str]
By = str | Mapping[str, str] | None


@dataclass(frozen=True)
class JointForecast:
    """The forecast of all series, and what draws their paths.

    Attributes:
        names: (n,) of the series.
        starts: (n,) datetime64[D], the first forecast day of each.
        quantiles: (n, horizon, levels), in the unit of the series.
        means: (n, horizon).
        floors: (n,) least possible values.
        levels: of the quantiles.
        sampler: of the paths.
        statics: value of each static covariate by the name of the series.
        notes: what a reader should know, a sentence each.
    """

    names: tuple[str, ...]
    starts: np.ndarray
    quantiles: np.ndarray
    means: np.ndarray
    floors: np.ndarray
    levels: tuple[float, ...]
    sampler: PathSampler
    statics: Mapping[str, Mapping[str, str]]
    notes: list[str]

    @property
    def horizon(self) -> int:
        """Days that are forecast."""
        return self.quantiles.shape[1]

    def draw(self, number: int) -> np.ndarray:
        """Draw the paths (paths, horizon) of a series by its number."""
        return self.sampler.draw(
            self.names[number], self.quantiles[number], floor=self.floors[number]
        )


def forecast_jointly(
    model: ServedModel, ahead: Ahead, horizon: int, *, paths: int, seed: int
) -> JointForecast:
    """Forecast the series of `ahead` with what draws their paths.

    Raises:
        ArtifactError: the model has no ranks.
    """
    levels = model.contract.quantiles
    sampler = PathSampler(model.ranks, levels, paths=paths, seed=seed)
    origins, quantiles, notes = forecast_quantiles(model, ahead, horizon)
    floors = least_values(ahead.panel, origins)
    return JointForecast(
        names=tuple(ahead.panel.ids[s] for s in ahead.panel.series_of(origins)),
        starts=ahead.panel.dates[origins] + 1,
        quantiles=quantiles,
        means=means_of(quantiles, levels, floors),
        floors=floors,
        levels=levels,
        sampler=sampler,
        statics=_static_values(ahead.panel),
        notes=ahead.notes + notes,
    )


def sum_forecast(joint: JointForecast, days: Days | None, by: By) -> pd.DataFrame:
    """Return totals, one row for each group and range of days.

    Args:
        joint: the forecast. A note is added for ranges that some series of a group do not reach.
        days: as `lib.inference.read_ranges` takes them; None for a week and the horizon.
        by: None for each series, "all" for their sum, a static covariate, or the group of each
            series by its name.

    Returns:
        Columns group, first, last (dates), days, series (numbers), mean and q0.05 … q0.95.

    Raises:
        ValueError: a range is wrong.
        SeriesError: a series has no group.
    """
    rows = [
        _row(group, total, joint.levels)
        for group, numbers, ranges in plan_groups(joint, days, by)
        for total in _add_up(joint, numbers, ranges)
    ]
    names = ["group", "first", "last", "days", "series", "mean"]
    return pd.DataFrame(rows, columns=[*names, *(f"q{level:g}" for level in joint.levels)])


def plan_groups(
    joint: JointForecast, days: Days | None, by: By
) -> list[tuple[str, list[int], list[DayRange]]]:
    """Return the groups of a forecast: name, numbers of their series, and ranges of days.

    The arguments are those of `sum_forecast`. Ranges that not all series of a group reach are left
    out, and noted.
    """
    days = list(days) if days is not None else [min(7, joint.horizon), joint.horizon]
    members: dict[str, list[int]] = {}
    for number, group in enumerate(_group_names(joint, by)):
        members.setdefault(group, []).append(number)
    groups = []
    for group, numbers in members.items():
        starts = joint.starts[numbers]
        ranges = read_ranges(days, joint.horizon, starts.max())
        ranges, beyond = align_ranges(ranges, starts, joint.horizon)
        if beyond:
            joint.notes.append(_describe_beyond(group, beyond))
        groups.append((group, numbers, ranges))
    return groups


def draw_paths(joint: JointForecast) -> pd.DataFrame:
    """Return sample paths, one row a series and day: series_id, date, and a column a path.

    The columns are numbered from 0. Path 3 of one series belongs to path 3 of the others.
    """
    dates = joint.starts[:, None] + np.arange(joint.horizon)
    keys = pd.DataFrame(
        {
            "series_id": np.repeat(np.array(joint.names, dtype=object), joint.horizon),
            "date": dates.ravel().astype("datetime64[us]"),
        }
    ).astype({"series_id": "str"})
    paths = [joint.draw(number).T for number in range(len(joint.names))]
    values = np.concatenate(paths) if paths else np.empty((0, joint.sampler.paths))
    return pd.concat([keys, pd.DataFrame(values)], axis=1)


def order_table(
    joint: JointForecast,
    lead_time: int | str,
    *,
    stock: float | Mapping[str, float] = 0.0,
    service_level: float | None = None,
    cost_over: float | None = None,
    cost_under: float | None = None,
) -> pd.DataFrame:
    """Return the order of each series for the demand of a lead time.

    Args:
        joint: the forecast.
        lead_time: days from the first, or a range such as `3-9`.
        stock: of every series, or by its name; 0 where the mapping has none.
        service_level: as for `lib.inference.choose_order`, and so are the costs.
        cost_over: of a unit too much.
        cost_under: of a unit too little.

    Returns:
        One row a series: series_id, first, last, stock, quantity, service_level, covers,
        expected_demand, expected_shortage and expected_leftover.

    Raises:
        ValueError: an argument is out of range.
        SeriesError: the stock of a series that is not forecast is given.
    """
    ranges = read_ranges([lead_time], joint.horizon)
    if isinstance(stock, Mapping):
        _check_stock(joint, stock)
    rows = []
    for number, name in enumerate(joint.names):
        in_stock = float(stock.get(name, 0.0) if isinstance(stock, Mapping) else stock)
        [total] = _add_up(joint, [number], ranges)
        order = choose_order(
            total.paths,
            mean=total.mean,
            stock=in_stock,
            service_level=service_level,
            cost_over=cost_over,
            cost_under=cost_under,
        )
        rows.append(
            {
                "series_id": name,
                "first": total.first.astype("datetime64[us]"),
                "last": total.last.astype("datetime64[us]"),
                "stock": in_stock,
                "quantity": order.quantity,
                "service_level": order.service_level,
                "covers": order.covers,
                "expected_demand": order.expected_demand,
                "expected_shortage": order.expected_shortage,
                "expected_leftover": order.expected_leftover,
            }
        )
    return pd.DataFrame(rows)


def _check_stock(joint: JointForecast, stock: Mapping[str, float]) -> None:
    """Refuse stock of series that are not forecast, and note the series without any."""
    if unknown := [str(name) for name in stock if name not in joint.names]:
        raise SeriesError(
            f"stock: no series {list_names(unknown)} is forecast; expected names among "
            f"{list_names(list(joint.names), 10)}"
        )
    if missing := [name for name in joint.names if name not in stock]:
        joint.notes.append(f"no stock is given for {list_names(missing)}: 0 is assumed")


def _static_values(panel: Panel) -> dict[str, dict[str, str]]:
    """Return the value of each static covariate by the name of the series, where it is known."""
    values = {}
    for covariate in panel.covariates:
        if covariate.role == "static":
            first = covariate.values[panel.offsets[:-1]]
            values[covariate.name] = {
                name: covariate.labels[int(value)] if covariate.labels else f"{value:g}"
                for name, value in zip(panel.ids, first, strict=True)
                if np.isfinite(value)
            }
    return values


def _group_names(joint: JointForecast, by: By) -> list[str]:
    names = joint.names
    if by is None:
        return list(names)
    if isinstance(by, str):
        if by == ALL:
            return [ALL] * len(names)
        if by not in joint.statics:
            known = ", ".join(map(repr, [ALL, *joint.statics]))
            raise ParameterError(
                f"by: got {by!r}, expected None, {known}, or the group of each series by its "
                "name, such as {'shop 1': 'north'}"
            )
        by = joint.statics[by]
    if missing := [name for name in names if name not in by]:
        raise SeriesError(
            f"by: no group for {list_names(missing)}; expected one for each of the {len(names)} "
            "series"
        )
    return [str(by[name]) for name in names]


def _add_up(
    joint: JointForecast, numbers: Sequence[int], ranges: Sequence[DayRange]
) -> list[Total]:
    if not ranges:
        return []
    total = GroupSum(ranges, joint.starts[numbers].max())
    for number in numbers:
        total.add(joint.starts[number], joint.means[number], joint.draw(number))
    return total.totals()


def _row(group: str, total: Total, levels: Sequence[float]) -> list[object]:
    first, last = (day.astype("datetime64[us]") for day in (total.first, total.last))
    quantiles = total.quantiles(levels).tolist()
    return [group, first, last, total.days.days, total.series, total.mean, *quantiles]


def _describe_beyond(group: str, ranges: Sequence[DayRange]) -> str:
    days = ", ".join(f"{first}-{last}" for first, last in ranges)
    return f"no total of days {days} for {group!r}: its series end on different days"
