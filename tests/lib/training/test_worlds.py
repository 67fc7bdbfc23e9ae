"""The worlds to pretrain on: drawn from their seed alone, usable, and what each is there for."""

import numpy as np
import pytest

from lib.data import day_of_year, weekday_of
from lib.training import worlds
from lib.training.worlds.calendar_effects import draw_holidays, draw_known_holidays, draw_weekly
from lib.training.worlds.counts import draw_counts
from lib.training.worlds.processes import draw_diffusion, draw_kernels, draw_sarima, draw_steps
from lib.training.worlds.regular import draw_driven, draw_regular

DAYS = np.arange("2015-01-01", "2018-01-01", dtype="datetime64[D]")
NAMES = list(worlds.GENERATORS)


def by_series(panel):
    return panel.values.reshape(panel.n_series, -1)


@pytest.mark.parametrize("name", NAMES)
def test_a_world_is_drawn_from_its_seed_alone(name):
    one, again, other = (worlds.draw_world(seed, name) for seed in (5, 5, 6))
    for column in ("values", "factor", "event", "dates"):
        np.testing.assert_array_equal(getattr(one, column), getattr(again, column))
    assert not np.array_equal(one.values[:200], other.values[:200], equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_world_can_be_learned_from(name):
    for seed in range(8):
        panel = worlds.draw_world(seed, name)
        values = by_series(panel)
        assert panel.n_series == worlds.SERIES_PER_WORLD
        assert 420 <= values.shape[1] <= 1150
        assert (np.isfinite(values).mean(axis=1) > 0.4).all()
        assert not np.isinf(values).any()
        assert np.nanmax(np.abs(values)) < 1e15
        events = panel.event[np.isfinite(panel.event)]
        assert ((events >= 0) & (events <= 1)).all()


def test_generators_have_equal_shares_and_next_worlds_next_seeds():
    panel = worlds.draw_worlds(2 * len(NAMES), seed=40)
    count = worlds.SERIES_PER_WORLD
    assert panel.n_series == 2 * len(NAMES) * count
    assert [panel.ids[n * count].split("_series")[0] for n in range(len(NAMES))] == [
        f"{number}_{name}" for number, name in enumerate(NAMES)
    ]
    alone = worlds.draw_world(41, NAMES[1])
    first = panel.series(count).start
    np.testing.assert_array_equal(panel.values[first : first + len(alone.values)], alone.values)


def test_a_choice_of_generators_is_kept_to():
    panel = worlds.draw_worlds(4, 3, ["counts", "steps"])
    assert {name.split("_")[1] for name in panel.ids} == {"counts", "steps"}


def test_christmas_is_the_same_day_in_most_worlds():
    """Else the day of the year would tell a network nothing."""
    christmas = (DAYS.astype("datetime64[M]").astype(int) % 12 == 11) & (day_of_year(DAYS) > 356)
    effects = [draw_holidays(np.random.default_rng(seed), DAYS, 1)[0][0] for seed in range(60)]
    fall = [effect[christmas].min() < np.median(effect) - 0.01 for effect in effects]
    assert np.mean(fall) > 0.6
    size = np.abs([effect - np.median(effect) for effect in effects]).mean(axis=0)
    assert weekday_of(DAYS[size.argmax()]) in range(7)
    assert day_of_year(DAYS[size.argmax()]) in (357, 358, 359, 360, 0)


def test_little_is_left_of_holidays_that_are_known():
    """What a user marks has been taken off before the network."""
    sizes = {True: [], False: []}
    for seed in range(200):
        effect, event = draw_known_holidays(np.random.default_rng(seed), DAYS, 1)
        sizes[bool(np.isfinite(event).all())].append(np.abs(effect).max())
    assert 60 < len(sizes[True]) < 140
    assert np.mean(sizes[True]) < 0.5 * np.mean(sizes[False])


def test_weekly_patterns_have_a_week():
    for seed in range(20):
        effect = draw_weekly(np.random.default_rng(seed), DAYS, 3)
        same_day, next_day = (np.abs(effect[:, n:] - effect[:, :-n]).mean() for n in (7, 1))
        assert same_day < 0.2 * next_day


def test_counts_are_whole_and_some_series_begin_with_nothing():
    starts = []
    for seed in range(30):
        world = draw_counts(np.random.default_rng(seed), DAYS, 6)
        assert (world.values >= 0).all()
        assert (world.values == np.round(world.values)).all()
        starts += [np.argmax(row > 0) for row in world.values]
    assert np.mean(np.array(starts) > 60) > 0.05


def test_kernels_have_the_periods_of_daily_series():
    """Of many draws some repeat after a week, and more than after eight days."""
    likeness = []
    for seed in range(40):
        values = draw_kernels(np.random.default_rng(seed), DAYS[:420], 2).values
        change = np.diff(values)
        likeness.append(
            [np.mean(change[:, n:] * change[:, :-n]) / np.mean(change**2) for n in (7, 8)]
        )
    week, not_a_week = np.array(likeness).T
    assert np.mean(week > 0.5) > 0.15
    assert np.mean(not_a_week > 0.5) < np.mean(week > 0.5)


def test_processes_stay_finite_and_positive_where_they_multiply():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        assert (draw_sarima(rng, DAYS, 3).values > 0).all()
        for draw in (draw_diffusion, draw_steps):
            assert np.isfinite(draw(rng, DAYS, 3).values).all()


def test_regular_series_repeat_after_a_week_or_a_year():
    """The better of the two naive forecasts explains most of a typical one."""
    explained = []
    for seed in range(40):
        values = np.log(draw_regular(np.random.default_rng(seed), DAYS, 1).values[0])
        values = values - values.mean()
        errors = [np.median(np.abs(values[n:] - values[:-n])) for n in (7, 364)]
        explained.append(min(errors) / np.median(np.abs(values)))
    assert np.median(explained) < 0.6


def test_weather_that_nobody_knows_drives_a_series():
    """And of weather that is known little is left."""
    left = {True: [], False: []}
    for seed in range(200):
        world = draw_driven(np.random.default_rng(seed), DAYS, 1)
        known = bool(np.isfinite(world.factor).all())
        left[known].append(np.ptp(np.log(np.maximum(world.values, 1e-9))))
    assert 100 < len(left[True]) < 180
    assert np.median(left[True]) < np.median(left[False])
