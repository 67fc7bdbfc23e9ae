"""What past covariates say of the days ahead: learned from leads, and nothing from noise."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data.covariates import Covariate
from lib.data.panel import Panel
from lib.features.engineering import compute_features
from lib.features.past_effect_fitting import MAX_SIGNALS, fit_past_effects
from lib.features.past_effects import COLUMNS, LAGS, PastEffects, deviate, summarize
from lib.features.window_index import Windows

DAYS, HORIZON, LEAD = 500, 10, 3
LAST = np.datetime64("2030-01-01")


def led_panel(kind="number", *, series=1, sign=1.0, seed=0):
    """Series that follow a covariate LEAD days later, and one of noise."""
    rng = np.random.default_rng(seed)
    size = (series, DAYS)
    moved = rng.normal(0, 0.2, size)
    if kind != "number":
        moved = (rng.random(size) < 0.2).astype(float)
    follows = np.pad(moved, ((0, 0), (LEAD, 0)))[:, :DAYS]
    week = 1 + 0.2 * (np.arange(DAYS) % 7 == 5)
    values = 100 * week * np.exp(0.5 * follows + rng.normal(0, 0.03, size))
    if sign < 0:
        values = 20 * (week + 0.5 * follows + rng.normal(0, 0.03, size)) - 30
    visits = 1000 * np.exp(moved) if kind == "number" else moved
    unknown = np.full(series * DAYS, np.nan)
    labels = ("none", "mail") if kind == "category" else ()
    return Panel(
        ids=tuple(f"shop {s}" for s in range(series)),
        offsets=np.arange(series + 1) * DAYS,
        dates=np.tile(np.datetime64("2023-01-02") + np.arange(DAYS), series),
        values=values.ravel(),
        factor=unknown,
        event=unknown,
        covariates=(
            Covariate("visits", "past", kind, visits.ravel(), labels),
            Covariate("noise", "past", "number", rng.normal(50, 5, series * DAYS)),
        ),
    )


def effects_of(panel, until=LAST):
    effects = fit_past_effects(panel, until, HORIZON)
    if effects is None:
        pytest.fail("no past covariate says anything")
    return effects


ORIGINS = np.arange(100, DAYS - HORIZON)


def followed(panel, effects, origins=ORIGINS):
    """The effects of visits on each day ahead, and those that were made."""
    found, _ = effects.measure(panel, origins, HORIZON)
    visits = panel.covariates[0].values
    made = visits[origins[:, None] + np.arange(1, HORIZON + 1) - LEAD]
    return found[effects.names.index("visits")], made


@pytest.mark.parametrize("kind", ["number", "event", "category"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_lead_moves_the_days_that_follow_it_and_no_others(kind, sign):
    panel = led_panel(kind, sign=sign)
    found, made = followed(panel, effects_of(panel))
    for day in range(LEAD):
        assert np.corrcoef(found[:, day], made[:, day])[0, 1] > 0.85
    assert np.abs(found[:, LEAD:]).mean() < 0.1 * np.abs(found[:, :LEAD]).mean()


def test_effects_multiply_by_what_the_lead_does():
    panel = led_panel("event")
    found, made = followed(panel, effects_of(panel))
    gap = found[:, :LEAD][made[:, :LEAD] == 1].mean() - found[:, :LEAD][made[:, :LEAD] == 0].mean()
    assert gap == pytest.approx(0.5, abs=0.05)


def test_series_share_effects_whatever_their_level():
    panel = led_panel(series=3)
    scale = np.repeat([1.0, 50.0, 0.1], DAYS)
    visits = replace(panel.covariates[0], values=panel.covariates[0].values * scale)
    panel = replace(panel, values=panel.values * scale[::-1], covariates=(visits,))
    for s in range(3):
        found, made = followed(panel, effects_of(panel), ORIGINS + s * DAYS)
        assert np.corrcoef(found[:, 0], np.log(made[:, 0]))[0, 1] > 0.85


def test_noise_a_constant_and_a_trend_say_next_to_nothing():
    panel = led_panel()
    rng = np.random.default_rng(5)
    values = {
        "noise": rng.normal(0, 1, DAYS),
        "constant": np.full(DAYS, 3.0),
        "trend": np.arange(DAYS, dtype=float),
        "unknown": np.full(DAYS, np.nan),
    }
    useless = tuple(Covariate(name, "past", "number", v) for name, v in values.items())
    effects = fit_past_effects(replace(panel, covariates=useless), LAST, HORIZON)
    if effects is not None:
        found, _ = effects.measure(replace(panel, covariates=useless), ORIGINS, HORIZON)
        assert np.abs(found).mean() < 0.005
    known = tuple(replace(c, role="known") for c in panel.covariates)
    assert fit_past_effects(replace(panel, covariates=known), LAST, HORIZON) is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_many_columns_those_that_say_most_are_looked_at(sign):
    """Or fifty of them would take minutes."""
    rng = np.random.default_rng(5)
    noise = [
        Covariate(f"noise {i}", "past", "number", rng.normal(50, 5, 2 * DAYS)) for i in range(30)
    ]
    panel = led_panel(series=2, sign=sign)
    among = replace(panel, covariates=(*noise[:15], panel.covariates[0], *noise[15:]))
    effects = effects_of(among)
    assert "visits" in effects.names
    assert len(effects.signals) <= MAX_SIGNALS


def test_half_a_year_is_too_short_to_tell_a_lead_from_the_season():
    panel = led_panel()
    short, long = panel.dates[200], panel.dates[300]
    assert fit_past_effects(panel, short, HORIZON) is None
    assert fit_past_effects(panel, long, HORIZON) is not None


def test_what_the_series_shows_itself_says_nothing_more():
    """A copy of the series is no news: its effects are far smaller than what it varies by."""
    panel = led_panel()
    copy = Covariate("copy", "past", "number", 3 * panel.values)
    panel = replace(panel, covariates=(copy,))
    effects = fit_past_effects(panel, LAST, HORIZON)
    if effects is not None:
        assert np.abs(effects.measure(panel, ORIGINS, HORIZON)[0]).mean() < 0.005


def test_nothing_after_the_origin_moves_an_effect():
    panel = led_panel()
    origin, until = 300, panel.dates[300]
    rng = np.random.default_rng(1)
    late = np.arange(DAYS) > origin
    visits = panel.covariates[0]
    changed = replace(
        panel,
        values=np.where(late, 7.0, panel.values),
        covariates=(
            replace(visits, values=np.where(late, rng.normal(0, 1e6, DAYS), visits.values)),
            replace(panel.covariates[1], values=np.where(late, np.nan, panel.covariates[1].values)),
        ),
    )
    effects, other = effects_of(panel, until), effects_of(changed, until)
    np.testing.assert_array_equal(effects.weights, other.weights)
    at = np.array([origin])
    before = effects.measure(panel, at, HORIZON)[0]
    np.testing.assert_array_equal(before, effects.measure(changed, at, HORIZON)[0])
    early = replace(visits, values=np.where(np.arange(DAYS) == origin, 2000.0, visits.values))
    moved = replace(panel, covariates=(early, panel.covariates[1]))
    assert np.abs(effects.measure(moved, at, HORIZON)[0] - before).max() > 0.05


def test_effect_fades_where_the_last_days_are_unknown():
    panel = led_panel()
    effects = effects_of(panel)
    visits, origin = panel.covariates[0], np.array([400])
    sizes = []
    for missing in (0, 1, 2, 3, 60):
        hidden = np.arange(DAYS) > 400 - missing
        part = replace(visits, values=np.where(hidden, np.nan, visits.values))
        found, _ = effects.measure(replace(panel, covariates=(part,)), origin, HORIZON)
        sizes.append(np.abs(found).max())
    assert sizes[0] > 0.02
    assert sizes[-1] == 0
    assert sizes[-2] < 0.2 * sizes[0]
    without, _ = effects.measure(replace(panel, covariates=()), origin, HORIZON)
    assert not without.any()
    assert not effects.known(replace(panel, covariates=()), origin).any()


def test_effects_are_read_as_they_were_written():
    panel = led_panel("category")
    effects = effects_of(panel)
    again = PastEffects.from_arrays(effects.to_arrays())
    assert again.signals == effects.signals
    np.testing.assert_array_equal(
        again.measure(panel, ORIGINS, HORIZON)[0], effects.measure(panel, ORIGINS, HORIZON)[0]
    )


def test_targets_are_without_the_effects():
    for sign in (1.0, -1.0):
        panel = led_panel(sign=sign)
        effects = effects_of(panel)
        windows = Windows(panel, compute_features(panel), ORIGINS, HORIZON)
        every = np.arange(len(ORIGINS))
        actual = windows.targets(every)
        rest = replace(windows, past_effects=effects).targets(every)
        found, units = effects.measure(panel, ORIGINS, HORIZON)
        effect = found.sum(axis=0)
        back = rest * np.exp(effect) if sign > 0 else rest + units[:, None] * effect
        np.testing.assert_allclose(back, actual)
        assert rest[:, :LEAD].std() < 0.8 * actual[:, :LEAD].std()


def test_longer_horizon_than_was_learned_has_no_effect_on_its_later_days():
    panel = led_panel()
    found, _ = effects_of(panel).measure(panel, ORIGINS, HORIZON + 30)
    assert not found[..., HORIZON:].any()


def test_deviations_are_from_level_and_weekday_with_gaps():
    week = np.array([1.0, 2, 3, 4, 5, 6, 13])
    window = np.tile(week, 8)[None].copy()
    window[0, 3] = np.nan
    rest, usual = deviate(window)
    np.testing.assert_allclose(usual, week[None])
    assert np.isnan(rest[0, 3])
    np.testing.assert_allclose(np.nan_to_num(rest), 0, atol=1e-12)
    rest[0, -2] = 2.0
    found = summarize(rest, np.array([4.0]))[0]
    expected = np.zeros(COLUMNS)
    expected[[1, LAGS, LAGS + 1]] = 0.5, 0.5 / 7, 0.5 / 28
    np.testing.assert_allclose(found, expected, atol=1e-12)
    trend = deviate(np.tile(week, 8)[None] + np.linspace(0, 50, 56))[0]
    np.testing.assert_allclose(trend, 0, atol=1e-9)
    few = np.full((1, 56), np.nan)
    few[0, -5:] = 1.0
    assert not summarize(deviate(few)[0], np.array([1.0])).any()
