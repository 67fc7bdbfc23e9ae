"""Make intermittent series: nearly all days without a sale, and no pattern to learn.

`python -m tests.make_intermittent sales.csv` writes what `make_intermittent` returns.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd


def make_intermittent(
    series: int = 4, days: int = 500, zeros: float = 0.75, seed: int = 0
) -> pd.DataFrame:
    """Return sales that are 0 on a share of the days and 1 + Poisson(2) on the others, at random.

    Args:
        series: number of them.
        days: of each.
        zeros: share of the days without a sale.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2024-01-01", periods=days)
    tables = []
    for number in range(series):
        sold = rng.random(days) >= zeros
        units = np.where(sold, 1 + rng.poisson(2.0, days), 0)
        tables.append(pd.DataFrame({"series_id": f"part {number}", "date": dates, "value": units}))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    make_intermittent().to_csv(sys.argv[1], index=False)
