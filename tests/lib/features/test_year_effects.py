"""What dates do every year: seasons and days that stand out, found in the series alone."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data import take_series
from lib.features import DAY_OF_YEAR, CovariateEffects, fit_effects
from lib.features.year_fitting import fit_year_effects
from tests.panels import changed_after, panel_of

YEARS = 6
MIN_DAYS = 500
FIRST = "2018-01-01"


def dated(days=365 * YEARS, seed=0, season=0.3, holiday=-0.8, noise=0.03):
    """A week, a season, 7 October closed to a half, and the last Monday of May as well."""
    rng = np.random.default_rng(seed)
    dates = np.datetime64(FIRST, "D") + np.arange(days)
    month, day = month_and_day(dates)
    weekday = (dates.astype(int) + 3) % 7
    stands_out = ((month == 10) & (day == 7)) | ((month == 5) & (day >= 25) & (weekday == 0))
    effect = season * np.sin(2 * np.pi * (month * 30.5 + day) / 372) + holiday * stands_out
    week = np.where(weekday >= 5, -0.2, 0.1)
    return 100 * np.exp(effect + week + noise * rng.standard_normal(days)), stands_out


def month_and_day(dates):
    months = dates.astype("datetime64[M]")
    return months.astype(int) % 12 + 1, (dates - months.astype("datetime64[D]")).astype(int) + 1


def learn(panel, until=None):
    last = panel.dates.max() if until is None else np.datetime64(until, "D")
    return fit_effects(panel, last, dates_from=MIN_DAYS)


def test_days_that_stand_out_are_found_on_their_date_and_on_their_weekday():
    values, stands_out = dated()
    panel = panel_of(values, first=FIRST)
    effects = learn(panel)
    assert effects.names == (DAY_OF_YEAR,)
    found = effects.year.at(panel.dates, np.zeros(len(values), dtype=int))
    around = (np.roll(found, 3) + np.roll(found, -3)) / 2
    sharp = (found - around)[stands_out]
    assert np.median(sharp) == pytest.approx(-0.8, abs=0.15)
    others = ~stands_out & ~np.roll(stands_out, 3) & ~np.roll(stands_out, -3)
    assert np.abs((found - around)[others]).max() < 0.2


def test_season_is_taken_off_and_put_back_on_days_past_the_end():
    values, _ = dated(holiday=0.0)
    panel = panel_of(values, first=FIRST)
    applied = learn(panel).apply(panel)
    without = applied.remove(np.array([True]))
    weeks = without.values[: 7 * 310].reshape(-1, 7).mean(axis=1)
    assert weeks.std() / weeks.mean() < 0.05 < 0.15 < values.std() / values.mean()
    origins = np.array([len(values) - 1])
    assert applied.known_ahead(origins, 90).all()
    restored = applied.restore(np.ones((1, 90, 1)), origins, np.array([True]))[0, :, 0]
    month, day = month_and_day(panel.dates[-1] + np.arange(1, 91))
    expected = np.exp(0.3 * np.sin(2 * np.pi * (month * 30.5 + day) / 372))
    assert np.corrcoef(restored, expected)[0, 1] > 0.98
    assert restored[-1] / restored[0] == pytest.approx(expected[-1] / expected[0], rel=0.08)


def test_nothing_after_the_last_day_to_learn_from_is_used():
    values, _ = dated()
    panel = panel_of(values, first=FIRST)
    until = np.datetime64("2022-06-30")
    one, other = learn(panel, until), learn(changed_after(panel, until), until)
    for name, array in one.to_arrays().items():
        np.testing.assert_array_equal(array, other.to_arrays()[name])


def test_what_years_do_not_share_is_worth_little():
    rng = np.random.default_rng(3)
    walk = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(4 * 365)))
    found = learn(panel_of(walk, first=FIRST))
    effect = found.year.fixed if found else np.zeros(1)
    assert np.abs(effect).max() < 0.1


@pytest.mark.parametrize("change", ["short", "negative", "constant", "zero"])
def test_a_series_without_years_or_ratios_has_none(change):
    values, _ = dated()
    if change == "short":
        values = values[: MIN_DAYS - 1]
    elif change == "negative":
        values = values - values.mean()
    else:
        values = np.full_like(values, 5.0 if change == "constant" else 0.0)
    assert learn(panel_of(values, first=FIRST)) is None


def test_zeros_and_gaps_leave_finite_effects():
    values, _ = dated()
    rng = np.random.default_rng(1)
    values[rng.random(len(values)) < 0.4] = 0.0
    values[700:900] = np.nan
    values[1500:1560] = 0.0
    panel = panel_of(values, first=FIRST)
    effects = learn(panel)
    assert effects is None or np.isfinite(effects.apply(panel).effects).all()


def test_each_series_has_its_own_and_a_new_one_none():
    panel = panel_of(dated()[0], dated(season=-0.3, seed=1)[0], dated(days=200)[0], first=FIRST)
    effects = learn(panel)
    one, other, short = effects.apply(panel).effects[0, panel.offsets[:-1] + 100]
    assert one * other < 0
    assert short == pytest.approx((one + other) / 3, abs=1e-6)


def test_new_and_short_series_have_what_the_others_share():
    panel = panel_of(*(dated(seed=seed)[0] for seed in range(3)), dated()[0][:90], first=FIRST)
    effects = learn(panel)
    own, short = (effects.apply(panel).effects[0, panel.series(s)] for s in (0, 3))
    np.testing.assert_allclose(short, 0.75 * own[:90], atol=0.1)
    new = replace(take_series(panel, np.array([0])), ids=("new",))
    again = CovariateEffects.from_arrays(effects.to_arrays())
    applied = again.apply(new)
    np.testing.assert_array_equal(applied.effects[0, :90], short)
    origins, steps = np.array([400]), np.arange(1, 29)
    ahead = applied.ahead(np.array([True]), origins, steps)[0, 0]
    np.testing.assert_array_equal(ahead, applied.effects[0, 401:429])
    negative = replace(new, values=new.values - new.values.mean())
    assert not again.apply(negative).effects.any()


def test_dates_of_an_earlier_version_are_those_of_its_series():
    panel = panel_of(*(dated(seed=seed)[0] for seed in range(2)), first=FIRST)
    effects = learn(panel)
    former = effects.to_arrays()
    former |= {name: former[name][:2] for name in ("fixed", "floating")}
    again = CovariateEffects.from_arrays(former)
    np.testing.assert_array_equal(again.apply(panel).effects, effects.apply(panel).effects)
    new = replace(take_series(panel, np.array([0])), ids=("new",))
    assert not again.apply(new).effects.any()


def test_dates_come_after_covariates_and_are_read_back_with_them():
    values, _ = dated()
    rng = np.random.default_rng(2)
    factor = rng.normal(0, 1, len(values))
    panel = panel_of(values * np.exp(0.2 * factor), factor=[factor], first=FIRST)
    effects = learn(panel)
    assert effects.names == ("fator_externo", DAY_OF_YEAR)
    assert effects.always_known.tolist() == [False, True]
    again = CovariateEffects.from_arrays(effects.to_arrays())
    np.testing.assert_array_equal(again.apply(panel).effects, effects.apply(panel).effects)
    plain = fit_effects(panel, panel.dates.max())
    assert plain is not None
    np.testing.assert_array_equal(plain.apply(panel).effects[0], effects.apply(panel).effects[0])
    assert "fixed" not in plain.to_arrays()


def test_a_covariate_of_that_name_stays_the_only_one():
    values, _ = dated()
    panel = panel_of(values, first=FIRST)
    past = np.full(len(values), True)
    assert fit_year_effects(panel, past, np.array([True]), MIN_DAYS) is not None
    assert fit_year_effects(panel, past, np.array([False]), MIN_DAYS) is None
