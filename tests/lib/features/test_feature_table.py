"""The table that drift is measured by."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data.covariates import Covariate
from lib.features.engineering import FEATURES, compute_features
from lib.features.feature_table import tabulate_features
from tests.panels import lively_panel


def test_table_has_features_and_daily_covariates_under_their_names():
    panel = lively_panel(days=100, series=2)
    count = len(panel.values)
    price = np.arange(count, dtype=np.float64)
    panel = replace(
        panel,
        covariates=(
            Covariate("price", "known", "number", price),
            Covariate("size", "static", "number", price),
            Covariate("kind", "past", "category", np.zeros(count), ("a",)),
            Covariate("lag_1", "past", "number", price),
        ),
    )
    features, rows = compute_features(panel), np.array([3, 150])
    table = tabulate_features(panel, features, rows)
    assert list(table.columns) == ["series_id", "date", *FEATURES, "price", "kind"]
    assert table["series_id"].tolist() == list(panel.ids)
    assert table["date"].tolist() == [pd.Timestamp(day) for day in panel.dates[rows]]
    np.testing.assert_array_equal(table[list(FEATURES)].to_numpy(), features[rows])
    assert table["price"].tolist() == [3.0, 150.0]
    assert table["kind"].tolist() == ["a", "a"]
