"""Ranges of days, totals over days and series, and orders."""

import numpy as np
import pandas as pd
import pytest

from lib.inference.orders import choose_order
from lib.inference.scenario_parts import share_difference
from lib.inference.totals import DayRange, GroupSum, align_ranges, read_ranges

START = np.datetime64("2026-01-30")


@pytest.mark.parametrize("start", [f"2026-01-{day:02d}" for day in (1, 4, 5, 11, 26, 31)])
@pytest.mark.parametrize("unit", ["weeks", "months"])
@pytest.mark.parametrize("horizon", [5, 7, 28, 70])
def test_calendar_ranges_equal_a_plain_loop(start, unit, horizon):
    days = pd.date_range(start, periods=horizon)
    period = days.to_period("W-SUN" if unit == "weeks" else "M")
    expected = [
        DayRange(list(period).index(p) + 1, list(period).index(p) + list(period).count(p))
        for p in period.unique()
        if p.start_time in days and p.end_time.normalize() in days
    ]
    assert read_ranges([unit], horizon, np.datetime64(start)) == expected


def test_ranges_are_read_once_each_in_order():
    assert read_ranges([28, "8-14", "7", 7], 28) == [(1, 28), (8, 14), (1, 7)]


@pytest.mark.parametrize("text", ["0", "29", "9-8", "-7", "a week", "1.5", "weeks", "", "１"])
def test_wrong_range_is_refused_with_what_is_expected(text):
    with pytest.raises(ValueError, match=r"^got .*expected"):
        read_ranges([text], 28)


def group(series=3, n=50, days=10, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(10, 2, (series, days)), rng.normal(10, 2, (series, n, days))


def test_group_is_the_sum_of_its_series_path_by_path():
    means, paths = group()
    ranges = read_ranges([3, "4-10"], 10)
    whole = GroupSum(ranges, START)
    for mean, path in zip(means, paths, strict=True):
        whole.add(START, mean, path)
    early, late = whole.totals()
    assert (early.series, str(late.first), str(late.last)) == (3, "2026-02-02", "2026-02-08")
    np.testing.assert_allclose(late.paths, paths[:, :, 3:].sum(axis=(0, 2)), rtol=1e-12)
    assert early.mean + late.mean == pytest.approx(means.sum(), rel=1e-12)


def test_group_adds_the_same_dates_of_series_that_begin_on_different_days():
    means, paths = group(series=2)
    whole = GroupSum([DayRange(1, 4)], START)
    whole.add(START - 2, means[0], paths[0])
    whole.add(START, means[1], paths[1])
    [total] = whole.totals()
    assert total.mean == pytest.approx(means[0, 2:6].sum() + means[1, :4].sum())


def test_ranges_that_not_all_series_reach_are_set_apart():
    ranges = [DayRange(1, 7), DayRange(1, 10)]
    inside, outside = align_ranges(ranges, np.array([START - 2, START]), 10)
    assert (inside, outside) == ([(1, 7)], [(1, 10)])


def test_order_covers_the_demand_as_often_as_its_service_level_says():
    demand = np.random.default_rng(0).gamma(4, 25, 20_000)
    order = choose_order(demand, stock=30.0, service_level=0.95)
    assert order.available == pytest.approx(order.quantity + 30)
    assert order.covers == pytest.approx(0.95, abs=1e-3)
    balance = order.available + order.expected_shortage - order.expected_leftover
    assert balance == pytest.approx(order.expected_demand)


def test_order_by_costs_has_the_least_expected_cost():
    demand = np.random.default_rng(0).gamma(4, 25, 5_000)
    order = choose_order(demand, cost_over=1.0, cost_under=4.0)
    assert order.service_level == 0.8

    def cost(quantity):
        return np.maximum(quantity - demand, 0).mean() + 4 * np.maximum(demand - quantity, 0).mean()

    assert all(cost(order.quantity) <= cost(order.quantity + d) for d in (-5, -1, 1, 5))


def test_stock_that_suffices_orders_nothing():
    order = choose_order(np.arange(10.0), stock=100.0, service_level=0.9)
    assert (order.quantity, order.expected_shortage, order.covers) == (0, 0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "service_level: expected either"),
        ({"service_level": 0.9, "cost_over": 1.0, "cost_under": 1.0}, "expected either"),
        ({"service_level": 1.0}, "above 0 and below 1, got 1.0"),
        ({"cost_over": 1.0}, "cost_under: expected a number above 0, got None"),
        ({"cost_over": 0.0, "cost_under": 1.0}, "cost_over: expected a number above 0"),
        ({"service_level": 0.9, "stock": np.nan}, "stock: expected a number"),
    ],
)
def test_order_without_a_usable_target_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        choose_order(np.arange(10.0), **options)


def test_effects_that_multiply_have_the_shares_of_their_logarithms():
    before = np.array([100.0, 10.0, 0.0])
    effects = np.array([[0.5, -0.3, 0.2], [0.1, 0.3, 0.1]])
    after = before * np.exp(effects.sum(axis=0))
    parts = share_difference(before, after, before * np.exp(effects), multiply=True)
    np.testing.assert_allclose(parts.sum(axis=0), after - before, atol=1e-12)
    np.testing.assert_allclose(parts[0, 0] / parts[1, 0], 5.0)
    np.testing.assert_allclose(parts[:, 1], [-3.0, 3.0])  # they cancel, and each is still seen
    np.testing.assert_allclose(parts[:, 2], 0.0)  # a closed day


def test_effects_that_add_are_their_own_parts():
    before = np.array([-5.0, 10.0])
    effects = np.array([[3.0, -2.0], [1.0, 2.0]])
    parts = share_difference(before, before + effects.sum(axis=0), before + effects, multiply=False)
    np.testing.assert_allclose(parts, effects)


def test_what_covariates_do_together_is_divided_by_what_they_do_alone():
    before, alone = np.array([0.0]), np.array([[3.0], [-1.0]])
    parts = share_difference(before, np.array([6.0]), alone, multiply=False)
    np.testing.assert_allclose(parts.ravel(), [6.0, 0.0])
    parts = share_difference(before, np.array([6.0]), np.zeros((2, 1)), multiply=False)
    np.testing.assert_allclose(parts.ravel(), [3.0, 3.0])


def test_total_of_a_group_adds_the_parts_of_its_series():
    total = GroupSum([DayRange(1, 2)], START)
    for size in (1.0, 2.0):
        total.add(START, np.ones(3), np.ones((4, 3)), {"price": np.full(3, size)})
    assert total.totals()[0].parts == {"price": 6.0}
