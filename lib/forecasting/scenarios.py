"""Compare futures: the totals of each, and their difference on common paths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.forecasting.totals import By, Days, JointForecast, plan_groups
from lib.inference import GroupSum, Total, share_difference, subtract
from lib.pipeline import ParameterError

BASE, TOTAL, DIFFERENCE, PART = "base", "total", "difference", "part"


def compare_scenarios(
    base: JointForecast,
    scenarios: Mapping[str, JointForecast],
    days: Days | None,
    by: By,
    alone: Mapping[str, Mapping[str, JointForecast]] | None = None,
) -> pd.DataFrame:
    """Return the totals of each scenario and their differences from the base.

    Args:
        base: the forecast to compare with.
        scenarios: forecasts of the same series, by name, with the seed of the base.
        days: as for `Forecaster.totals`.
        by: as for `Forecaster.totals`.
        alone: of each scenario, forecasts in which one covariate alone is as there, by its name;
            None leaves out the parts.

    Returns:
        One row for each scenario, group, range and measure (`total`, and `difference` from the
        base): scenario, group, measure, first, last, days, series, mean and q0.05 … q0.95. The
        base comes first. With `alone` also a column `covariate`, and below each difference a row
        of measure `part` for each covariate: only their means, which add up to the difference.

    Raises:
        ParameterError: a scenario is named `base`.
        ValueError: a range is wrong.
    """
    if BASE in scenarios:
        raise ParameterError(f"scenarios: {BASE!r} is the forecast that they are compared with")
    rows = []
    for group, numbers, ranges in plan_groups(base, days, by):
        start = base.starts[numbers].max()
        before = GroupSum(ranges, start)
        after = {name: GroupSum(ranges, start) for name in scenarios}
        for number in numbers if ranges else ():
            name, first = base.names[number], base.starts[number]
            before.add(first, base.means[number], base.draw(number))
            for scenario, joint in scenarios.items():
                paths = base.sampler.draw_scenario(
                    name,
                    base.quantiles[number],
                    joint.quantiles[number],
                    floor=base.floors[number],
                )
                parts = _parts(base, joint, (alone or {}).get(scenario, {}), number)
                after[scenario].add(first, joint.means[number], paths, parts)
        bases = before.totals()
        rows += [_row(BASE, group, TOTAL, total, base.levels) for total in bases]
        for scenario, sums in after.items():
            for total, other in zip(sums.totals(), bases, strict=True):
                rows.append(_row(scenario, group, TOTAL, total, base.levels))
                difference = subtract(total, other)
                rows.append(_row(scenario, group, DIFFERENCE, difference, base.levels))
                rows += [_part_row(rows[-1], *part) for part in difference.parts.items()]
    names = ["scenario", "group", "measure", "first", "last", "days", "series", "mean"]
    names += [f"q{level:g}" for level in base.levels]
    table = pd.DataFrame(rows, columns=[*names, "covariate"])
    if alone is None:
        return table.drop(columns="covariate")
    table.insert(names.index("measure") + 1, "covariate", table.pop("covariate"))
    return table


def _parts(
    base: JointForecast, joint: JointForecast, alone: Mapping[str, JointForecast], number: int
) -> dict[str, np.ndarray]:
    """Return what each covariate adds to the days of a series, by its name."""
    if not alone:
        return {}
    parts = share_difference(
        base.means[number],
        joint.means[number],
        np.stack([one.means[number] for one in alone.values()]),
        multiply=bool(np.isfinite(base.floors[number])),
    )
    return dict(zip(alone, parts, strict=True))


def _part_row(row: list[object], covariate: str, mean: float) -> list[object]:
    scenario, group, _, *facts = row[:7]
    unknown = [np.nan] * (len(row) - 9)
    return [scenario, group, PART, *facts, mean, *unknown, covariate]


def _row(
    scenario: str, group: str, measure: str, total: Total, levels: tuple[float, ...]
) -> list[object]:
    first, last = (day.astype("datetime64[us]") for day in (total.first, total.last))
    facts = [scenario, group, measure, first, last, total.days.days, total.series, total.mean]
    return [*facts, *total.quantiles(levels).tolist(), ""]
