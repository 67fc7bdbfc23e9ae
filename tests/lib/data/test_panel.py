"""Rows and series of a panel, weekdays and days of the year, against plain loops."""

import numpy as np
import pandas as pd

from lib.data.calendar import day_of_year, weekday_of
from tests.panels import panel_of


def test_rows_know_their_series_and_its_bounds():
    panel = panel_of(np.ones(5), np.ones(1), np.ones(3))
    rows = np.arange(9)
    assert panel.series_of(rows).tolist() == [0] * 5 + [1] + [2] * 3
    assert panel.first_row_of(rows).tolist() == [0] * 5 + [5] + [6] * 3
    assert panel.last_row_of(rows).tolist() == [4] * 5 + [5] + [8] * 3
    assert panel.series_of(rows.reshape(3, 3)).shape == (3, 3)


def test_weekday_and_day_of_year_are_those_of_pandas():
    days = np.datetime64("1959-12-25") + np.arange(0, 60_000, 7 * 13 + 1)
    stamps = pd.DatetimeIndex(days)
    np.testing.assert_array_equal(weekday_of(days), stamps.day_of_week)
    np.testing.assert_array_equal(day_of_year(days), stamps.day_of_year - 1)
    assert weekday_of(np.datetime64("2024-02-29T23:59:59")) == 3
    assert day_of_year(np.datetime64("2024-02-29T23:59:59")) == 59
