"""Explanations of dated series: beside their own past, with covariates as players."""

import itertools
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.data.covariates import Covariate
from lib.data.panel import take_series
from lib.explanation import plots
from lib.explanation.cases import find_past_origins
from lib.explanation.explainer import Explainer
from lib.explanation.explanation import Explanation
from lib.explanation.shapley import all_coalitions, exact_product_shapley, exact_shapley
from lib.explanation.shares import TOLERANCE
from lib.features.effect_fitting import fit_effects
from lib.features.engineering import FEATURES
from lib.features.year_effects import DAY_OF_YEAR
from lib.inference.effects import LearnedEffects
from lib.inference.served_model import ServedModel, forecast_panel
from tests.panels import TINY_MODEL, panel_of

DAYS, HORIZON = 500, 3
HIGHEST = np.datetime64("2030-01-01")


def covariates_of(rng, days, extra=0):
    """A price, a promotion and the weather, and numbers that do a little each."""
    labels = ("rain", "sun")
    known = [
        Covariate("price", "known", "number", rng.normal(10, 2, days)),
        Covariate("promo", "known", "event", (rng.random(days) < 0.1).astype(float)),
        Covariate("weather", "known", "category", rng.integers(0, 2, days).astype(float), labels),
    ]
    known += [Covariate(f"x{i}", "known", "number", rng.normal(0, 1, days)) for i in range(extra)]
    return tuple(known)


def moved_panel(sign=1.0, extra=0, factor=False, days=DAYS):
    """A series that its covariates move; it goes below zero where sign is -1."""
    rng = np.random.default_rng(3)
    covariates = covariates_of(rng, days, extra)
    price, promo, weather, *others = (c.values for c in covariates)
    factors = rng.normal(5, 1, days)
    effect = -0.05 * (price - 10) + 0.4 * promo + 0.2 * weather + 0.1 * factor * (factors - 5)
    effect = effect + 0.02 * np.sum([np.zeros(days), *others], axis=0)
    week = 1 + 0.2 * np.sin(2 * np.pi * np.arange(days) / 7)
    values = 100 * week * np.exp(effect + rng.normal(0, 0.02, days))
    if sign < 0:
        values = 100 * (week + effect) - 100
    panel = panel_of(values, factor=[factors] if factor else None)
    return replace(panel, covariates=covariates)


def model_of(panel):
    """The tiny network, served with the effects of the covariates of a panel."""
    model = ServedModel.load(TINY_MODEL)
    effects = fit_effects(panel, HIGHEST)
    if effects is None:
        pytest.fail("no covariate has an effect")
    spread = np.ones((len(effects.names) + 1, HORIZON, len(model.contract.quantiles)))
    model.covariates = LearnedEffects(effects, spread, model.contract.quantiles.index(0.5))
    return model


def effects_in(case):
    """The effects of a case, which has some."""
    if case.effects is None:
        pytest.fail("the case has no effects")
    return case.effects


@pytest.fixture(scope="module", params=["multiply", "add", "factor"])
def served(request):
    panel = moved_panel(-1.0 if request.param == "add" else 1.0, factor=request.param == "factor")
    return model_of(panel), panel


ORIGIN = DAYS - 1 - HORIZON


@pytest.mark.parametrize("day", [1, 3, 0])
def test_explanation_of_a_day_makes_its_forecast(served, day):
    model, panel = served
    explained = Explainer(model, horizon_day=day).explain_day(panel, ORIGIN)
    forecast = forecast_panel(model, panel, np.array([ORIGIN]))[0, :, 1]
    expected = forecast.mean() if day == 0 else forecast[day - 1]
    assert explained.output_value == pytest.approx(expected, rel=1e-5)
    difference = explained.output_value - explained.base_value
    for shares in (
        explained.by_feature.values(),
        explained.by_day.values(),
        np.ravel(explained.feature_by_day),
    ):
        assert sum(shares) == pytest.approx(difference, abs=TOLERANCE * abs(difference))
    rows = np.sum(explained.feature_by_day, axis=1)
    np.testing.assert_allclose(rows, list(explained.by_feature.values()), atol=1e-6)
    assert list(explained.by_feature) == [*FEATURES, "price", "promo", "weather"]
    assert explained.base_of_series
    assert explained.background_windows == 8


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_shares_are_those_over_all_coalitions(sign):
    panel = moved_panel(sign, factor=True)
    explainer = Explainer(model_of(panel), own_windows=4)
    case = explainer.case(panel, ORIGIN)
    shares = explainer.shares_of(case)
    # The game written out: the network without effects, effects put back one by one.
    effects, features = effects_in(case), len(FEATURES)
    network = explainer._network(case, _feature_players())

    def game(coalitions):
        values = network.by_day(coalitions[:, :features])[:, 0]
        total = np.zeros(len(coalitions))
        own = features
        for k, name in enumerate(effects.names):
            if name in FEATURES:
                joins = coalitions[:, FEATURES.index(name)]
            else:
                joins, own = coalitions[:, own], own + 1
            total += np.where(joins, effects.effects[k, 0], effects.usual[k, 0])
        return values + effects.unit * total if effects.additive else values * np.exp(total)

    expected = exact_shapley(game, features + 3)
    size = np.abs(expected).max()
    np.testing.assert_allclose(list(shares.values()), expected, atol=1e-9 * size)


def _feature_players():
    from lib.explanation.players import feature_players

    return feature_players()


def test_product_shapley_is_exact_shapley_of_the_product():
    rng = np.random.default_rng(0)
    values, factors = rng.normal(size=2**3), rng.uniform(0.5, 2, 4)

    def game(coalitions):
        inner = values[coalitions[:, :3] @ (1 << np.arange(3))]
        return inner * np.where(coalitions[:, 3:], factors, 1.0).prod(axis=1)

    np.testing.assert_allclose(exact_product_shapley(values, factors), exact_shapley(game, 7))
    without = exact_product_shapley(values, np.empty(0))
    np.testing.assert_allclose(without, exact_shapley(lambda _: values, 3))


def test_product_shapley_of_very_many_players_adds_up():
    rng = np.random.default_rng(0)
    values, factors = rng.uniform(50, 150, 2**3), rng.uniform(0.97, 1.03, 300)
    shares = exact_product_shapley(values, factors)
    assert shares.sum() == pytest.approx(values[-1] * factors.prod() - values[0])


def test_coalitions_are_in_the_order_of_their_numbers():
    np.testing.assert_array_equal(
        all_coalitions(2), [[False, False], [True, False], [False, True], [True, True]]
    )


def test_another_future_of_the_covariates_moves_their_shares_and_not_the_network():
    panel = moved_panel()
    explainer = Explainer(model_of(panel))
    price, *others = panel.covariates
    dearer = price.values.copy()
    dearer[ORIGIN + 1 :] += 3
    other = replace(panel, covariates=(replace(price, values=dearer), *others))
    one, two = (explainer.case(p, ORIGIN) for p in (panel, other))
    inputs = [(*case.window, *case.background) for case in (one, two)]
    for before, after in zip(*inputs, strict=True):
        np.testing.assert_array_equal(before, after)
    cheaper, dearer = effects_in(one), effects_in(two)
    np.testing.assert_array_equal(cheaper.usual, dearer.usual)
    np.testing.assert_allclose(cheaper.effects[1:], dearer.effects[1:], rtol=1e-12)
    cheap, dear = explainer.shares_of(one), explainer.shares_of(two)
    assert dear["price"] < cheap["price"]
    assert explainer.ends_of(one)[0] == explainer.ends_of(two)[0]


def test_a_covariate_as_usual_has_no_share():
    panel = moved_panel()
    explainer = Explainer(model_of(panel))
    case = explainer.case(panel, ORIGIN)
    effects = effects_in(case)
    as_usual = replace(effects, effects=effects.usual)
    shares = explainer.shares_of(replace(case, effects=as_usual))
    assert [shares[name] for name in ("price", "promo", "weather")] == [0, 0, 0]


def test_a_covariate_that_is_not_known_ahead_is_no_player():
    panel = moved_panel()
    model = model_of(panel)
    price, *others = panel.covariates
    unknown = price.values.copy()
    unknown[ORIGIN + 1 :] = np.nan
    panel = replace(panel, covariates=(replace(price, values=unknown), *others))
    explained = Explainer(model).explain_day(panel, ORIGIN)
    assert list(explained.by_feature)[len(FEATURES) :] == ["promo", "weather"]
    forecast = forecast_panel(model, panel, np.array([ORIGIN]))[0, 0, 1]
    assert explained.output_value == pytest.approx(forecast, rel=1e-5)


def test_effect_beyond_the_limit_is_cut_as_in_the_forecast():
    panel = moved_panel()
    model = model_of(panel)
    effects = model.covariates.effects
    traits = replace(effects.traits, gains=effects.traits.gains * 40)
    strong = replace(effects, traits=traits)
    model.covariates = replace(model.covariates, effects=strong)
    applied = strong.apply(panel)
    day = int(np.abs(applied.effects.sum(axis=0))[400:ORIGIN].argmax()) + 400
    assert np.abs(applied.effects.sum(axis=0)[day]) > 3
    explained = Explainer(model).explain_day(panel, day - 1)
    forecast = forecast_panel(model, panel, np.array([day - 1]))[0, 0, 1]
    assert explained.output_value == pytest.approx(forecast, rel=1e-5)
    assert explained.additivity_error <= TOLERANCE


def test_base_is_the_mean_forecast_of_the_series_past_without_covariates():
    rng = np.random.default_rng(0)
    small, large = 10 + rng.normal(0, 1, 400), 1000 + rng.normal(0, 50, 400)
    panel, model = panel_of(small, large), ServedModel.load(TINY_MODEL)
    for series in (0, 1):
        origin = int(panel.offsets[series + 1]) - 1
        explained = Explainer(model).explain_day(panel, origin)
        first = int(panel.offsets[series])
        past = find_past_origins(panel.values[first : origin + 1], 60, 8) + first
        expected = forecast_panel(model, panel, past)[:, 0, 1].mean()
        assert explained.base_value == pytest.approx(expected, rel=1e-5)
        assert not explained.covariates


def test_what_follows_the_forecast_and_other_series_change_nothing():
    rng = np.random.default_rng(0)
    panel = panel_of(10 + rng.normal(0, 1, 400), 1000 + rng.normal(0, 50, 400))
    explainer = Explainer(ServedModel.load(TINY_MODEL))
    explained = explainer.explain_day(panel, 350)
    changed = panel.values.copy()
    changed[351:] = 7.0
    assert explainer.explain_day(replace(panel, values=changed), 350) == explained
    assert explainer.explain_day(take_series(panel, np.array([0])), 350) == explained


def test_past_origins_are_of_the_last_year_and_the_same_weekday():
    origins = find_past_origins(np.ones(900), 60, 8)
    assert len(origins) == 8
    assert ((899 - origins) % 7 == 0).all()
    assert origins.min() >= 899 - 364
    assert origins.max() < 899


@pytest.mark.parametrize(
    ("values", "count"),
    [(np.ones(60), 0), (np.ones(87), 0), (np.ones(88), 4), (np.full(500, np.nan), 0)],
)
def test_a_series_without_a_past_has_no_origins_of_its_own(values, count):
    assert len(find_past_origins(values, 60, 8)) == count


def test_a_young_series_is_compared_with_the_background_of_the_model():
    panel = moved_panel(days=70)
    model = model_of(moved_panel())
    model.covariates = replace(
        model.covariates, effects=replace(model.covariates.effects, ids=("another",))
    )
    explained = Explainer(model).explain_day(panel, 70 - 1 - HORIZON)
    assert not explained.base_of_series
    assert explained.background_windows == 3
    assert explained.additivity_error <= TOLERANCE
    assert "price" in explained.by_feature


def test_sample_of_days_names_features_and_covariates(served):
    model, panel = served
    shares, names = Explainer(model, own_windows=1).sample_days(panel, [ORIGIN - 1, ORIGIN])
    assert names == (*FEATURES, "price", "promo", "weather")
    assert shares.shape == (2, len(names))
    assert np.abs(shares[:, -3:]).sum() > 0


def test_json_has_the_values_of_covariates_on_the_day():
    panel = moved_panel()
    explained = Explainer(model_of(panel), own_windows=1).explain_day(panel, ORIGIN)
    kept = json.loads(explained.to_json())
    assert kept["covariates"]["weather"] in ("rain", "sun")
    assert kept["covariates"]["price"] == panel.covariates[0].values[ORIGIN + 1]
    assert kept["base_of_series"]
    assert Explanation.from_json(explained.to_json()) == explained
    mean = Explainer(model_of(panel), own_windows=1, horizon_day=0).explain_day(panel, ORIGIN)
    assert set(mean.covariates.values()) == {None}


def test_json_of_an_undated_window_has_the_fields_of_before():
    model = ServedModel.load(TINY_MODEL)
    past, ahead = model.background()
    explained = Explainer(model, background=1).explain(past[-1], ahead[-1])
    assert not {"covariates", "base_of_series"} & json.loads(explained.to_json()).keys()
    assert Explanation.from_json(explained.to_json()) == explained


@pytest.mark.filterwarnings("ignore:The set_.* function will be:PendingDeprecationWarning")
@pytest.mark.parametrize("extra", [0, 20])
def test_pictures_show_covariates_with_labels_apart(extra):
    panel = moved_panel(extra=extra, factor=True)
    explainer = Explainer(model_of(panel), own_windows=2)
    case = explainer.case(panel, ORIGIN)
    explained = explainer.explain_day(panel, ORIGIN)
    columns = {"fator_externo": "the temperature at noon, in degrees Celsius"}
    figure = plots.plot_waterfall(explained, case.window[0][-1], columns)
    figure.canvas.draw()
    axis = figure.axes[0]
    labels = axis.get_yticklabels()
    words = " ".join(label.get_text() for label in labels)
    assert "the temperature at noon" in words
    assert "price = " in words
    assert ("others" in words) == (extra > 0)
    for texts in (labels, axis.child_axes[0].get_yticklabels()):
        boxes = [text.get_window_extent() for text in texts]
        for text, box in zip(texts, boxes, strict=True):
            assert figure.bbox.x0 <= box.x0, text.get_text()
            assert box.x1 <= figure.bbox.x1, text.get_text()
        ordered = sorted(boxes, key=lambda box: box.y0)
        assert all(a.y1 <= b.y0 + 1 for a, b in itertools.pairwise(ordered))
    assert not axis.texts[0].get_window_extent().overlaps(axis.texts[1].get_window_extent())
    shares, names = explainer.sample_days(panel, [ORIGIN - 1, ORIGIN])
    latest = np.tile(case.window[0][-1], (2, 1))
    for drawn in (
        plots.plot_map(explained),
        plots.plot_importance(shares, names),
        plots.plot_beeswarm(shares, latest, names),
    ):
        drawn.canvas.draw()
        shown = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
        assert "price" in " ".join(shown)
    plt.close("all")


def test_the_date_is_a_player_where_years_were_learned():
    days = 3 * 365
    panel = moved_panel(days=days)
    season = np.exp(0.4 * np.sin(2 * np.pi * np.arange(days) / 365.25))
    panel = replace(panel, values=panel.values * season)
    model = model_of(panel)
    effects = fit_effects(panel, HIGHEST, dates_from=500)
    assert effects is not None
    spread = np.ones((len(effects.names) + 1, HORIZON, len(model.contract.quantiles)))
    model.covariates = LearnedEffects(effects, spread, model.contract.quantiles.index(0.5))
    end = days - 1  # no row of the panel is ahead: the covariates are unknown, the date is not
    for origin, names in ((end - HORIZON, ["price", "promo", "weather"]), (end, [])):
        explained = Explainer(model).explain_day(panel, origin)
        forecast = forecast_panel(model, panel, np.array([origin]))[0, 0, 1]
        assert explained.output_value == pytest.approx(forecast, rel=1e-5)
        assert list(explained.by_feature) == [*FEATURES, *names, DAY_OF_YEAR]
        assert explained.covariates[DAY_OF_YEAR] == str(panel.dates[origin] + 1)
