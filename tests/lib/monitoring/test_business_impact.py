import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.monitoring.business_impact import Prices, compute_business_impact, grade_of

FIRST, LAST = np.datetime64("2024-01-01"), np.datetime64("2024-01-31")


def forecasts(actual, point, naive=None, horizon=1, series="a"):
    n = len(actual)
    return pd.DataFrame(
        {
            "series_id": series,
            "date": (FIRST + np.arange(n)).astype("datetime64[s]"),
            "horizon": horizon,
            "actual": np.array(actual, float),
            "q0.5": np.array(point, float),
            "naive": np.full(n, np.nan) if naive is None else np.array(naive, float),
        }
    )


def test_business_follows_its_formulae():
    prices = Prices(1.0, 3.0, 5.0, 0.10, 0.5)
    table = forecasts([100, 100, 100], [120, 95, 80], naive=[150, 100, np.nan])
    found = compute_business_impact(table, prices, first=FIRST, last=LAST)
    assert (found.over_volume, found.under_volume) == (20, 25)
    assert found.cost == 20 + 75
    assert found.accurate == 1
    assert found.revenue == 5
    avoided = (50 - 20) + (0 - 15)  # the third has no naive forecast
    assert found.saving == 0.5 * avoided
    assert found.total == found.revenue + found.saving - found.cost
    assert found.per_unit == pytest.approx(found.total / 300)
    assert found.roi == pytest.approx(found.total / 95)


def test_business_prices_over_and_under_apart():
    prices = Prices(cost_over=1, cost_under=4, revenue_per_accurate=0)
    over = compute_business_impact(forecasts([100], [110]), prices, first=FIRST, last=LAST)
    under = compute_business_impact(forecasts([110], [100]), prices, first=FIRST, last=LAST)
    assert (over.cost_over, over.cost_under) == (10, 0)
    assert (under.cost_over, under.cost_under) == (0, 40)


def test_business_counts_each_day_once_by_its_last_forecast():
    table = pd.concat([forecasts([100], [50], horizon=7), forecasts([100], [100], horizon=1)])
    found = compute_business_impact(table, first=FIRST, last=LAST)
    assert found.forecasts == 1
    assert found.cost == 0


def test_business_leaves_out_days_without_an_actual_and_outside_the_window():
    table = forecasts([100, np.nan, 100], [100, 100, 100])
    assert compute_business_impact(table, first=FIRST, last=FIRST + 1).forecasts == 1


def test_business_of_nothing_has_no_grade():
    found = compute_business_impact(forecasts([], []), first=FIRST, last=LAST)
    assert (found.forecasts, found.grade, found.total) == (0, "", 0)
    assert found.to_json()["roi"] is None


def test_grade_of_follows_the_return():
    assert [grade_of(r, 0, 1) for r in (2, 1, 0.7, 0.2, -0.2, -3)] == list("AABCDF")
    assert grade_of(np.nan, 10, 1) == "A"


@given(st.floats(0.01, 100), st.integers(0, 50))
def test_business_share_of_accurate_days_does_not_depend_on_units(factor, seed):
    rng = np.random.default_rng(seed)
    actual = rng.uniform(50, 150, 20)
    # not on the edge of the tolerance, where rounding decides
    point = actual * rng.choice([0.7, 0.95, 1.0, 1.05, 1.3], 20)
    plain = compute_business_impact(forecasts(actual, point), first=FIRST, last=LAST)
    scaled = compute_business_impact(
        forecasts(factor * actual, factor * point), first=FIRST, last=LAST
    )
    assert plain.accurate == scaled.accurate
    assert scaled.cost == pytest.approx(factor * plain.cost)
