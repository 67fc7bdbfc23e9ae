"""Effects of covariates: what is learned, what is not, and that nothing leaks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lib.data.covariates import Covariate
from lib.data.panel import Panel
from lib.features import covariate_effects
from lib.features.basis_learning import MOST_COLUMNS, bound_columns, learn_basis
from lib.features.covariate_effects import CovariateEffects
from lib.features.effect_fitting import fit_effects
from lib.features.effect_return import put_back

DAYS = 420
UNTIL = np.datetime64("2021-01-01") + DAYS - 61


def panel_with(*covariates, series=1, effect=0.0, negative=False, seed=0):
    """Series with a week and noise, times `effect`, and the covariates of all rows."""
    rng = np.random.default_rng(seed)
    count = series * DAYS
    week = np.tile(1 + 0.2 * np.sin(np.arange(DAYS) * 2 * np.pi / 7), series)
    values = 100 * week * np.exp(effect + rng.normal(0, 0.05, count))
    values = values - 100 if negative else values
    unknown = np.full(count, np.nan)
    return Panel(
        ids=tuple(f"s{number}" for number in range(series)),
        offsets=np.arange(series + 1) * DAYS,
        dates=np.tile(np.datetime64("2021-01-01") + np.arange(DAYS), series),
        values=values,
        factor=unknown,
        event=unknown,
        covariates=covariates,
    )


def number(name, values):
    return Covariate(name, "known", "number", np.asarray(values, dtype=float))


def draw(count=DAYS, seed=1):
    return np.random.default_rng(seed).normal(size=count)


def learn(panel):
    """The effects of a panel that has some."""
    effects = fit_effects(panel, UNTIL)
    assert effects is not None
    return effects


def visible(effects, *names):
    return np.array([name in names for name in effects.names])


def test_effect_of_a_number_is_found():
    x = draw()
    applied = learn(panel_with(number("x", x), effect=0.2 * x)).apply(panel_with(number("x", x)))
    inner = np.abs(x) < 1.5
    slope = np.polyfit(x[inner], applied.effects[0][inner], 1)[0]
    assert slope == pytest.approx(0.2, abs=0.02)


def test_bent_effect_is_found():
    x = draw()
    bent = 0.4 * np.maximum(x - 0.3, 0)
    applied = learn(panel_with(number("x", x), effect=bent)).apply(panel_with(number("x", x)))
    moved = applied.effects[0] - applied.effects[0].mean() - (bent - bent.mean())
    assert np.abs(moved[np.abs(x) < 1.5]).mean() < 0.04


def event_of(sizes, at):
    """An event of some sizes on some days, and no event on the others."""
    values = np.zeros(DAYS)
    values[at] = sizes
    return Covariate("promo", "known", "event", values)


def test_small_events_of_another_kind_are_no_small_large_ones():
    at = np.arange(12, DAYS, 12)
    sizes = np.where(np.arange(len(at)) % 3 == 0, 0.5, 0.8)
    promo = event_of(sizes, at)
    effect = np.select([promo.values == 0.5, promo.values == 0.8], [0.5, 0.2])
    applied = learn(panel_with(promo, effect=effect)).apply(panel_with(promo, effect=effect))
    usual = applied.effects[0][promo.values == 0].mean()
    for size, true in ((0.5, 0.5), (0.8, 0.2)):
        found = applied.effects[0][promo.values == size].mean() - usual
        assert found == pytest.approx(true, abs=0.05)


def test_an_event_of_one_size_has_one_column_for_it():
    at = np.arange(12, DAYS, 12)
    effect = 0.3 * (event_of(0.5, at).values > 0)
    for size in (0.5, 1.0):
        promo = event_of(size, at)
        effects = learn(panel_with(promo, effect=effect))
        assert effects.bases[0].knots == ()
        again = CovariateEffects.from_arrays(effects.to_arrays())
        assert again.bases == effects.bases


def test_effects_of_an_earlier_version_apply_as_they_did():
    """Its bases do not say how far an event reaches, and have weights for a day."""
    at = np.arange(12, DAYS, 12)
    effect = 0.3 * (event_of(1.0, at).values > 0)
    panel = panel_with(event_of(1.0, at), effect=effect)
    effects = learn(panel)
    arrays = effects.to_arrays()
    settings = json.loads(arrays["settings"].tobytes().decode())
    del settings["bases"][0]["reach"]
    former = [place for place, group in enumerate(effects.bases[0].groups) if "near" not in group]
    arrays |= {name: arrays[name][:, former] for name in ("weights", "centres")}
    arrays["settings"] = np.frombuffer(json.dumps(settings).encode(), dtype=np.uint8)
    old = CovariateEffects.from_arrays(arrays)
    assert old.bases[0].groups == ["promo", "promo:around", "promo:around", "promo:weekend"]
    applied = old.apply(panel).effects[0]
    assert applied[at].mean() - applied[at[:-1] + 6].mean() == pytest.approx(0.3, abs=0.03)


def test_an_event_reaches_two_days_around():
    at = np.arange(12, DAYS - 2, 12)
    promo = event_of(1.0, at)
    effect = np.zeros(DAYS)
    for days, true in ((-2, 0.15), (-1, 0.2), (0, 0.5), (1, -0.2), (2, -0.15)):
        effect[at + days] = true
    applied = learn(panel_with(promo, effect=effect)).apply(panel_with(promo, effect=effect))
    usual = applied.effects[0][at + 6].mean()
    for days in (-2, -1, 0, 1, 2):
        found = applied.effects[0][at + days].mean() - usual
        assert found == pytest.approx(effect[at + days].mean(), abs=0.06)


def test_events_and_holidays_of_earlier_artifacts_reach_one_day():
    """They do not say how far; their weights are of the day, those around it and weekends."""
    plain = {"low": 0.0, "high": 1.0, "mean": 0.0, "unit": 1.0, "knots": [], "relative": ""}
    bases = [
        plain | {"name": "promo", "kind": "event", "labels": []},
        plain | {"name": "holidays", "kind": "holiday", "labels": ["X"]},
    ]
    text = json.dumps({"bases": bases, "ids": ["s0"]})
    own = np.ones((1, 2))
    arrays = {
        "settings": np.frombuffer(text.encode(), dtype=np.uint8),
        "weights": np.tile([0.4, 0.1, 0.2, 0.0, -0.3, -0.1, -0.2, 0.0, 0.0, 0.0, 0.0], (2, 1)),
        "centres": np.zeros((2, 11)),
        "lasting": np.ones(2),
        "additive": np.zeros(1, dtype=bool),
        "units": np.ones(1),
        "references": np.nan * own,
        "gains": own,
        "slopes": 0 * own,
    }
    days = np.zeros(DAYS)
    days[200] = 1
    holidays = Covariate("holidays", "known", "holiday", days, ("", "X"))
    effects = CovariateEffects.from_arrays(arrays)
    applied = effects.apply(panel_with(event_of(1.0, [100]), holidays)).effects
    np.testing.assert_allclose(applied[0, 98:103], [0, 0.2, 0.4, 0.1, 0], atol=1e-6)
    np.testing.assert_allclose(applied[1, 198:203], [0, -0.2, -0.3, -0.1, 0], atol=1e-6)
    again = CovariateEffects.from_arrays(effects.to_arrays())
    assert again.bases == effects.bases


def test_effect_adds_where_values_are_negative():
    x = draw()
    panel = panel_with(number("x", x), negative=True)
    panel = replace(panel, values=panel.values + 10 * x)
    effects = learn(panel)
    applied = effects.apply(panel)
    assert np.isfinite(applied.units).all()
    removed = applied.remove(visible(effects, "x")).values
    assert np.std(np.diff(removed, 7)) < 0.7 * np.std(np.diff(panel.values, 7))


@pytest.mark.parametrize(
    "values",
    [draw(seed=7), np.ones(DAYS), np.arange(DAYS) * 0.1, np.sin(np.arange(DAYS) / 58)],
    ids=["noise", "constant", "trend", "slow wave"],
)
def test_irrelevant_number_has_no_effect(values):
    effects = fit_effects(panel_with(number("x", values)), UNTIL)
    if effects is not None:
        assert np.abs(effects.apply(panel_with(number("x", values))).effects).max() < 0.03


def test_nothing_after_the_last_day_is_used():
    x, promo = draw(), (draw(seed=3) > 1).astype(float)
    event = Covariate("promo", "known", "event", promo)
    panel = panel_with(number("x", x), event, effect=0.2 * x + 0.3 * promo)
    late = panel.dates > UNTIL
    other = replace(
        panel,
        values=np.where(late, 7.0, panel.values),
        covariates=(
            number("x", np.where(late, 99.0, x)),
            replace(event, values=np.where(late, 1 - promo, promo)),
        ),
    )
    first, second = (learn(p).to_arrays() for p in (panel, other))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_arrays_hold_all_that_was_learned():
    x = draw()
    panel = panel_with(number("x", x), effect=0.2 * x)
    effects = learn(panel)
    again = CovariateEffects.from_arrays(effects.to_arrays())
    assert again.bases == effects.bases
    np.testing.assert_array_equal(again.apply(panel).effects, effects.apply(panel).effects)


def test_values_outside_the_learned_range_count_as_its_bounds():
    x = draw()
    effects = learn(panel_with(number("x", x), effect=0.2 * x))
    known = np.where(panel_with().dates <= UNTIL, x, np.nan)
    far, bound = (
        effects.apply(panel_with(number("x", np.full(DAYS, value)))).effects
        for value in (1e6, np.nanmax(known))
    )
    np.testing.assert_array_equal(far, bound)


def test_removed_effects_are_restored():
    x, promo = draw(), (draw(seed=3) > 1.5).astype(float)
    panel = panel_with(
        number("x", x), Covariate("promo", "known", "event", promo), effect=0.2 * x + 0.5 * promo
    )
    effects = learn(panel)
    applied = effects.apply(panel)
    every = visible(effects, "x", "promo")
    origins = np.array([300])
    ahead = applied.remove(every).values[301:315].reshape(1, 14, 1)
    restored = applied.restore(ahead, origins, every)[0, :, 0]
    np.testing.assert_allclose(restored, panel.values[301:315], rtol=1e-5)
    rows = np.arange(280, 300)[None]
    hidden = ~visible(effects, "x")[None]
    back = put_back(applied, applied.remove(every).values[rows], rows, hidden)
    expected = applied.remove(visible(effects, "x")).values[rows]
    np.testing.assert_allclose(back, expected, rtol=1e-5)


def test_effect_of_an_unknown_day_is_that_of_the_days_before():
    x = np.where(np.arange(DAYS) < 380, draw() + 2, np.nan)
    panel = panel_with(number("x", x), effect=0.2 * np.nan_to_num(x))
    effects = replace(learn(panel), lasting=np.ones(1))
    applied = effects.apply(panel)
    assert not applied.known[0, 380:].any()
    recent = applied.effects[0, 352:380].mean()
    np.testing.assert_allclose(applied.effects[0, 380:], recent, rtol=1e-4)
    known = applied.known_ahead(np.array([360, 375, 390]), 14)[..., 0]
    assert known.sum(axis=1).tolist() == [14, 4, 0]


def test_category_that_was_never_seen_is_unknown():
    codes = np.random.default_rng(2).integers(0, 3, DAYS)
    weather = Covariate("weather", "known", "category", codes.astype(float), ("a", "b", "c"))
    panel = panel_with(weather, effect=np.array([0.0, 0.3, -0.3])[codes])
    effects = learn(panel)
    other = replace(weather, labels=("a", "b", "snow"))
    known = effects.apply(replace(panel, covariates=(other,))).known[0]
    np.testing.assert_array_equal(known, codes != 2)
    by_label = effects.apply(panel).effects[0]
    assert by_label[codes == 1].mean() - by_label[codes == 2].mean() == pytest.approx(0.6, abs=0.1)


def test_a_label_of_its_own_for_each_day_teaches_nothing():
    labels = tuple(f"receipt {i}" for i in range(DAYS))
    receipt = Covariate("receipt", "known", "category", np.arange(DAYS) * 1.0, labels)
    price = draw()
    learned = learn(panel_with(number("price", price), receipt, effect=0.3 * price))
    alone = learn(panel_with(number("price", price), effect=0.3 * price))
    assert learned.names == alone.names == ("price",)
    np.testing.assert_array_equal(learned.weights, alone.weights)


@pytest.mark.parametrize("seed", range(6))
def test_what_the_week_tells_already_has_no_effect(seed):
    weekday = (np.arange(DAYS) + 4) % 7  # 2021-01-01 is a Friday
    weekend = Covariate("weekend", "known", "event", (weekday >= 5) * 1.0)
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    day = Covariate("day", "known", "category", weekday * 1.0, names)
    price = draw(seed=100 + seed)
    panel = panel_with(number("price", price), weekend, day, effect=0.1 * price, seed=seed)
    applied = learn(panel).apply(panel)
    sizes = dict(zip(applied.names, np.abs(applied.effects).max(axis=1), strict=True))
    assert sizes["price"] > 0.2
    assert sizes.get("weekend", 0.0) < 0.02
    assert sizes.get("day", 0.0) < 0.02


def test_what_says_nothing_is_left_out_and_the_rest_is_as_it_was():
    """To the bit: a fit beside such columns is the fit without them, but for one in twenty."""
    passed = same = 0
    for seed in range(40):
        price = draw(seed=100 + seed)
        known = number("price", price), Covariate("sale", "known", "event", (price > 1.0) * 1.0)
        codes = np.random.default_rng(seed).integers(0, 4, DAYS)
        useless = (
            number("noise", draw(seed=200 + seed)),
            number("constant", np.ones(DAYS)),
            number("trend", np.arange(DAYS) / 7.0),
            Covariate("code", "known", "category", codes * 1.0, ("a", "b", "c", "d")),
            Covariate("coin", "known", "event", (draw(seed=300 + seed) > 0) * 1.0),
        )
        effect = 0.1 * price + 0.3 * (price > 1.0)
        alone = learn(panel_with(*known, effect=effect, seed=seed))
        beside = learn(panel_with(*known, *useless, effect=effect, seed=seed))
        assert alone.names == ("price", "sale")
        assert beside.names[:2] == ("price", "sale")
        passed += len(beside.names) - 2
        if len(beside.names) == 2:
            same += 1
            np.testing.assert_array_equal(alone.weights, beside.weights)
    assert passed <= 0.05 * 5 * 40
    assert same >= 30


def test_covariates_are_those_that_are_asked_for():
    price, noise = draw(seed=1), draw(seed=2)
    panel = panel_with(number("price", price), number("noise", noise), effect=0.1 * price)
    only = fit_effects(panel, UNTIL, only=("noise", "price"))
    assert only is not None
    assert only.names == ("price", "noise")


def test_a_working_day_has_the_effect_of_its_holidays():
    weekday = (np.arange(DAYS) + 4) % 7
    off = np.isin(np.arange(DAYS), range(17, DAYS, 31)) & (weekday < 5)
    working = Covariate("working", "known", "event", ((weekday < 5) & ~off) * 1.0)
    panel = panel_with(working, effect=-0.4 * off)
    effects = learn(panel).apply(panel).effects[0]
    between = effects[(weekday < 5) & ~off].mean() - effects[off].mean()
    assert between == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("code", [9999.0, -999.0])
def test_a_code_for_missing_numbers_hides_no_effect(code):
    price = 10 + draw()
    coded = np.where(np.random.default_rng(3).random(DAYS) < 0.02, code, price)
    panel = panel_with(number("price", coded), effect=-0.2 * (price - 10))
    applied = learn(panel).apply(panel)
    usual = coded == price
    slope = np.polyfit(price[usual], applied.effects[0][usual], 1)[0]
    assert slope == pytest.approx(-0.2, abs=0.04)


def test_a_discount_of_rare_days_is_not_cut():
    discount = np.where(np.arange(DAYS) % 31 == 0, 1.0 + np.arange(DAYS) % 4, 0.0)
    panel = panel_with(number("discount", discount), effect=0.1 * discount)
    assert learn(panel).bases[0].high == 4.0


@pytest.mark.parametrize("days", [10, 20, 40])
def test_what_has_begun_but_once_lasts(days):
    last = DAYS - 61  # of the days that are learned from
    begun = (np.arange(DAYS) > last - days) * 1.0
    panel = panel_with(Covariate("opened", "known", "event", begun), effect=0.5 * begun)
    learned = learn(panel)
    assert learned.lasting[0] > 0.75
    ahead = learned.apply(panel).effects[0][last + 1 : last + 29]
    assert ahead.mean() == pytest.approx(0.5, abs=0.2)


WEEKDAY = (np.arange(DAYS) + 4) % 7  # 2021-01-01 is a Friday


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(
    "alone",
    [
        Covariate("weekend", "known", "event", (WEEKDAY >= 5) * 1.0),
        Covariate("day", "known", "category", WEEKDAY * 1.0, tuple("abcdefg")),
        Covariate("later", "known", "event", np.where(np.arange(DAYS) < 400, np.nan, WEEKDAY > 3)),
        Covariate("once", "known", "event", (np.arange(DAYS) == 3) * 1.0),
        number("rises", np.arange(DAYS) / 7.0),
    ],
    ids=lambda covariate: covariate.name,
)
def test_a_single_covariate_that_says_nothing_is_no_fault(alone, negative):
    assert fit_effects(panel_with(alone, negative=negative), UNTIL) is None


def test_many_numbers_are_all_looked_at():
    effect = np.zeros(DAYS)
    numbers = [number(f"number {i}", draw(seed=i)) for i in range(40)]
    for each in (numbers[0], numbers[-1]):
        effect += 0.1 * each.values
    assert {"number 0", "number 39"} <= set(learn(panel_with(*numbers, effect=effect)).names)


def test_what_has_begun_and_changes_nothing_has_no_effect():
    begun = Covariate("opened", "known", "event", (np.arange(DAYS) > DAYS - 91) * 1.0)
    found = [fit_effects(panel_with(begun, seed=seed), UNTIL) for seed in range(40)]
    assert sum(effects is not None for effects in found) <= 2


def test_columns_of_many_labels_are_bounded_and_rare_ones_share_an_effect():
    """Or a few kilobytes of labels would take minutes."""
    rng = np.random.default_rng(0)
    usual, rare = [f"usual {i}" for i in range(12)], [f"rare {i}" for i in range(60)]
    shares = np.append(np.full(12, 0.8 / 12), np.full(60, 0.2 / 60))
    codes = rng.choice(72, DAYS, p=shares)
    first = Covariate("first", "known", "category", codes * 1.0, (*usual, *rare))
    labels = tuple(f"label {i}" for i in range(40))
    others = [
        Covariate(f"other {k}", "known", "category", rng.integers(0, 40, DAYS) * 1.0, labels)
        for k in range(6)
    ]
    panel = panel_with(first, *others, effect=0.5 * (codes >= 12))
    past = panel.dates <= UNTIL
    bases = [learn_basis(panel, each, past) for each in (first, *others)]
    bounded = bound_columns([basis for basis in bases if basis], panel, past)
    assert sum(len(basis.groups) for basis in bounded) <= MOST_COLUMNS
    assert len(bounded) == 7
    effects = learn(panel)
    assert effects.bases[0].rest
    assert set(usual) <= set(effects.bases[0].labels)
    new = replace(first, labels=(*usual, *rare[:-1], "never seen"))
    applied = effects.apply(replace(panel, covariates=(new, *others)))
    assert applied.known[0].all()
    own = applied.effects[0]
    assert own[codes >= 12].mean() - own[codes < 12].mean() == pytest.approx(0.5, abs=0.1)


def test_a_series_without_the_covariate_hides_no_effect():
    """Held out are days of those that have it, and of these alone there are enough or too few."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        promo = np.full(2 * DAYS, np.nan)
        promo[:DAYS] = 0.0
        promo[rng.choice(DAYS - 90, 12, replace=False)] = 1.0
        panel = panel_with(
            Covariate("promo", "known", "event", promo),
            series=2,
            effect=0.1 * np.nan_to_num(promo),
            seed=seed,
        )
        dates = panel.dates.copy()
        dates[DAYS:] -= 3_000  # long before
        found += fit_effects(replace(panel, dates=dates), UNTIL) is not None
    assert found >= 18


def test_a_name_for_each_of_few_days_is_learned():
    at = (40, 90, 140, 190)
    named = np.zeros(DAYS)
    named[list(at)] = np.arange(1, 5)
    fairs = Covariate("fair", "known", "category", named, ("", "a", "b", "c", "d"))
    learned = learn(panel_with(fairs, effect=0.5 * (named > 0)))
    assert learned.bases[0].labels == ("", "a", "b", "c", "d")


def test_holiday_that_was_never_seen_has_the_common_effect():
    codes = np.zeros(DAYS)
    codes[20::45] = 1 + np.arange(len(codes[20::45])) % 3
    day = Covariate("holiday", "known", "holiday", codes, ("", "a", "b", "c"))
    panel = panel_with(day, effect=-0.7 * (codes > 0))
    effects = learn(panel)
    new = replace(day, labels=("", "new", "b", "c"))
    found = effects.apply(replace(panel, covariates=(new,))).effects[0]
    usual = found[codes == 0].mean()
    assert found[codes == 1].mean() - usual < -0.4


def test_series_differ_where_there_are_many():
    series = 12
    x = draw(series * DAYS)
    slopes = np.repeat(np.linspace(0.0, 0.4, series), DAYS)
    panel = panel_with(number("x", x), series=series, effect=slopes * x)
    found = learn(panel).apply(panel).effects[0]
    by_series = [np.polyfit(x[panel.series(s)], found[panel.series(s)], 1)[0] for s in range(12)]
    np.testing.assert_allclose(by_series, np.linspace(0.0, 0.4, series), atol=0.06)


def test_series_of_other_levels_share_the_effect_of_their_prices():
    series = 3
    level = np.repeat([1.0, 10.0, 100.0], DAYS)
    cut = (draw(series * DAYS) > 1).astype(float)
    price = number("price", level * np.where(cut == 1, 0.8, 1.0))
    panel = panel_with(price, series=series, effect=0.4 * cut)
    effects = learn(panel)
    assert effects.bases[0].relative == "ratio"
    found = effects.apply(panel).effects[0]
    assert found[cut == 1].mean() - found[cut == 0].mean() == pytest.approx(0.4, abs=0.08)


def test_too_few_days_teach_nothing():
    x = draw()
    assert fit_effects(panel_with(number("x", x)), np.datetime64("2021-02-15")) is None


def test_effects_of_many_rows_are_computed_in_parts(monkeypatch):
    series = 4
    x = draw(series * DAYS)
    panel = panel_with(number("x", x), series=series, effect=0.2 * x)
    effects = learn(panel)
    whole = effects.apply(panel)
    monkeypatch.setattr(covariate_effects, "CHUNK_ROWS", 2 * DAYS)
    parts = effects.apply(panel)
    for name in ("effects", "linear", "known", "units"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
