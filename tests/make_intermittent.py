"""Make intermittent series: standing orders on a day or two of the week, and nothing on the others.

Three days of four are 0. What came on the same weekdays of late is as good a forecast as there is.
`python -m tests.make_intermittent parts.csv` writes what `make_intermittent` returns.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

ORDER_DAYS = (2, 2, 1, 2)  # of the week, by series in turn


def make_intermittent(
    series: int = 4, days: int = 500, changed: float = 0.04, seed: int = 0
) -> pd.DataFrame:
    """Return orders of 1 + Poisson(4) on fixed weekdays, the same each week but for some days.

    Args:
        series: number of them.
        days: of each.
        changed: share of the days on which an order fails, or another comes in.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2024-01-01", periods=days)
    tables = []
    for number in range(series):
        week = np.zeros(7, dtype=np.int64)
        ordered = rng.choice(7, ORDER_DAYS[number % len(ORDER_DAYS)], replace=False)
        week[ordered] = 1 + rng.poisson(4.0, len(ordered))
        units = week[dates.day_of_week.to_numpy()]
        other = np.where(units > 0, 0, 1 + rng.poisson(4.0, days))
        units = np.where(rng.random(days) < changed, other, units)
        tables.append(pd.DataFrame({"series_id": f"part {number}", "date": dates, "value": units}))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    make_intermittent().to_csv(sys.argv[1], index=False)
