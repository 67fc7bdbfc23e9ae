"""Small tables, and one instant fit that most tests share."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.settings import ROOT

SHARED = ROOT.parent / "shared" / "data"


def shop_table(days=150, shops=("north", "south"), seed=0):
    """Weekly sales of two shops with a temperature and promotions, under a user's names."""
    rng = np.random.default_rng(seed)
    rows = []
    for level, shop in zip((100, 40), shops, strict=False):
        t = np.arange(days)
        units = level * (1 + 0.2 * np.sin(2 * np.pi * t / 7)) + rng.normal(0, 3, days)
        rows.append(
            pd.DataFrame(
                {
                    "shop": shop,
                    "day": pd.date_range("2024-01-01", periods=days),
                    "units": units.round(1),
                    "temperature": rng.normal(20, 5, days).round(1),
                    "promo": (rng.random(days) < 0.1).astype(float),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


COLUMNS: dict[str, Any] = {
    "date": "day",
    "value": "units",
    "series": "shop",
    "external": "temperature",
    "event": "promo",
}


@pytest.fixture(scope="session")
def shops():
    """The table; not to be changed."""
    return shop_table()


@pytest.fixture(scope="session")
def fitted(shops):
    """An instant forecaster of the table, 28 days ahead; not to be fitted again."""
    return Forecaster(horizon=28).fit(shops, **COLUMNS, effort="instant")
