"""What series have in common, and the past of young ones filled in from it."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data import Covariate, Panel, take_series
from lib.features import YOUNG_DAYS, SeriesPool, complete_past, find_young, learn_pool
from lib.features.young_series import LOOK_BACK_DAYS

START = np.datetime64("2023-01-02", "D")  # a Monday
WEEK = np.array([-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3])


def make_panel(levels=(10.0, 100.0, 1000.0, 50.0, 20.0), days=500, seed=0, noise=0.05, week=WEEK):
    """Series of one shape, a week and a slow year, on their own levels."""
    rng = np.random.default_rng(seed)
    t = np.arange(days)
    shape = np.resize(week, days) + 0.2 * np.sin(2 * np.pi * t / 364)
    values = [level * (1 + shape + noise * rng.standard_normal(days)) for level in levels]
    return to_series(values)


def to_series(values, covariates=()):
    lengths = [len(one) for one in values]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    dates = np.concatenate([START + np.arange(n) for n in lengths])
    unknown = np.full(offsets[-1], np.nan)
    ids = tuple(f"s{i}" for i in range(len(values)))
    return Panel(ids, offsets, dates, np.concatenate(values), unknown, unknown.copy(), covariates)


def pool_of(panel, until) -> SeriesPool:
    pool = learn_pool(panel, until)
    assert pool is not None
    return pool


def starting(panel, series, day):
    """Return the panel with a series whose values begin on a day."""
    values = panel.values.copy()
    values[panel.series(series).start : panel.series(series).start + day] = np.nan
    return replace(panel, values=values)


def test_shape_is_that_of_the_series_on_any_level():
    pool = pool_of(make_panel(noise=0.0), START + 499)
    t = np.arange(500)
    expected = np.resize(WEEK, 500) + 0.2 * np.sin(2 * np.pi * t / 364)
    share = 5 / 6  # of five series and a flat one
    np.testing.assert_allclose(pool.shape[0], share * (expected - expected.mean()), atol=0.05)
    assert pool.spread == np.inf  # five levels say nothing about a sixth


def test_nothing_after_the_last_day_is_learned():
    panel = make_panel()
    changed = replace(panel, values=np.where(panel.dates > START + 400, 7.0, panel.values))
    before, after = (pool_of(one, START + 400) for one in (panel, changed))
    assert np.array_equal(before.shape, after.shape)
    assert before.noise == after.noise


def test_pool_needs_a_month_of_a_series_that_sells():
    assert learn_pool(make_panel(days=27), START + 26) is None
    assert learn_pool(to_series([np.zeros(100)]), START + 99) is None
    assert learn_pool(make_panel(days=28), START + 27) is not None


def test_young_is_less_than_a_window_from_the_first_known_day():
    panel = starting(make_panel(), 1, 300)
    row = panel.offsets[1] + 300
    origins = row + np.array([-1, 0, YOUNG_DAYS - 2, YOUNG_DAYS - 1])
    assert find_young(panel, origins).tolist() == [False, True, True, False]
    assert find_young(panel, np.array([58, 59])).tolist() == [True, False]


@pytest.mark.parametrize("known", [1, 7, 30, 59])
def test_past_of_a_young_series_is_filled_in(known):
    panel = make_panel()
    pool = pool_of(take_series(panel, np.array([0, 1, 2, 3])), START + 499)
    young = starting(panel, 4, 500 - known)
    origin = np.array([panel.offsets[5] - 1])
    completed, ends = complete_past(pool, young, origin, horizon=7)
    assert len(completed.values) == LOOK_BACK_DAYS + 7
    assert ends.tolist() == [LOOK_BACK_DAYS - 1]
    assert completed.dates[ends[0]] == START + 499
    past = completed.values[: ends[0] + 1]
    truth = panel.values[panel.series(4)][-LOOK_BACK_DAYS:]
    np.testing.assert_array_equal(past[-known:], truth[-known:])
    assert np.isfinite(past).all()
    assert np.isnan(completed.values[ends[0] + 1 :]).all()
    error = np.abs(past - truth).mean() / truth.mean()
    assert error < 0.12


def test_nothing_after_an_origin_is_used():
    panel = make_panel()
    pool = pool_of(panel, START + 400)
    origin = np.array([panel.offsets[2] + 30])
    young = starting(panel, 2, 20)
    changed = replace(young, values=np.where(young.dates > START + 30, 1e6, young.values))
    a, b = (complete_past(pool, one, origin, 7)[0].values for one in (young, changed))
    assert np.array_equal(a, b, equal_nan=True)


def test_hidden_days_are_not_looked_at():
    panel = make_panel()
    pool = pool_of(panel, START + 499)
    origin = panel.offsets[1:2] - 1
    hidden, _ = complete_past(pool, panel, origin, 7, known_days=14)
    cut, _ = complete_past(pool, starting(panel, 0, 486), origin, 7)
    assert np.array_equal(hidden.values, cut.values, equal_nan=True)


def test_level_of_one_day_leans_on_levels_of_the_others():
    rng = np.random.default_rng(0)
    panel = make_panel(levels=np.exp(4 + 0.2 * rng.standard_normal(20)), noise=0.3)
    pool = pool_of(panel, START + 499)
    extreme = to_series([np.array([400.0])])
    completed, _ = complete_past(pool, extreme, np.array([0]), 7)
    level = np.nanmean(completed.values[:LOOK_BACK_DAYS])
    assert 60 < level < 200
    nothing, _ = complete_past(pool, to_series([np.array([0.0])]), np.array([0]), 7)
    assert np.nanmean(nothing.values[:LOOK_BACK_DAYS]) > 5  # not a series of zeros for good


def test_weekday_on_which_all_are_closed_stays_without_values():
    panel = make_panel()
    weekend = np.isin((panel.dates - START).astype(int) % 7, [5, 6])
    panel = replace(panel, values=np.where(weekend, np.nan, panel.values))
    pool = pool_of(panel, START + 499)
    young = starting(panel, 0, 470)
    completed, ends = complete_past(pool, young, panel.offsets[1:2] - 1, 7)
    day = (completed.dates[: ends[0] + 1] - START).astype(int) % 7
    assert np.isnan(completed.values[: ends[0] + 1][day >= 5]).all()
    assert np.isfinite(completed.values[: ends[0] + 1][day < 5]).all()


def test_series_of_a_kind_lends_more_to_its_own_kind():
    kinds = np.array([0.0, 1.0] * 10)
    panels = [make_panel(levels=[100.0], week=WEEK * (1 - 2 * kind)) for kind in kinds]
    values = [panel.values for panel in panels]
    kind = Covariate("kind", "static", "category", np.repeat(kinds, 500), ("shop", "office"))
    panel = to_series(values, (kind,))
    pool = pool_of(panel, START + 499)
    assert set(pool.groups) == {("kind", "shop"), ("kind", "office")}
    label = Covariate("kind", "static", "category", np.array([0.0]), ("office",))
    office = to_series([np.array([100.0])], (label,))
    completed, ends = complete_past(pool, office, np.array([0]), 7)
    past = completed.values[: ends[0]]
    day = (completed.dates[: ends[0]] - START).astype(int) % 7
    assert past[day == 0].mean() > past[day == 6].mean()  # the offices' week, not the mean of both


def test_without_others_the_past_is_flat_and_rough():
    one = to_series([np.array([10.0])])
    completed, ends = complete_past(SeriesPool.flat(), one, np.array([0]), 7)
    past = completed.values[: ends[0]]
    assert past.mean() == pytest.approx(10, rel=0.01)
    assert np.abs(past - past.mean()).mean() > 1.5
    by_weekday = past[-14 * 7 :].reshape(14, 7).mean(axis=0)
    np.testing.assert_allclose(by_weekday, 10, rtol=1e-9)  # no week is made up


def test_days_outside_the_pool_have_those_of_other_years():
    pool = pool_of(make_panel(noise=0.0), START + 499)
    panel = make_panel(levels=[10.0], noise=0.0)
    dates = START + np.array([[499 + 200, 499 + 201]])
    rows = np.array([0])
    shapes = pool.shape_of(panel, rows, dates)
    np.testing.assert_array_equal(shapes, pool.shape_of(panel, rows, dates - 364))
    early = pool.shape_of(panel, rows, START + np.array([[-7, -6]]))
    np.testing.assert_array_equal(early[0], pool.shape[0][364 - 7 : 364 - 5])
