"""Shapley values: right on games that are known, adding up on forecasts, faithful to causes."""

import itertools
import math

import numpy as np
import pytest

from lib import explanation, export, features, training
from lib.explanation import Explainer, Explanation, exact_shapley, sampled_shapley
from lib.features import FEATURES
from lib.forecaster import Forecaster
from lib.model import ModelConfig
from tests.panels import TINY_MODEL, panel_of, spans_of


def game_of(seed, players):
    """A random game with interactions: value by the number of the coalition."""
    table = np.random.default_rng(seed).normal(size=2**players)
    return lambda coalitions: table[coalitions @ (1 << np.arange(players))]


def by_definition(game, players):
    """Shapley values as the mean gain over every order: the naive loop."""
    shares = np.zeros(players)
    for order in itertools.permutations(range(players)):
        coalition = np.zeros((1, players), dtype=bool)
        for player in order:
            before = game(coalition)[0]
            coalition[0, player] = True
            shares[player] += game(coalition)[0] - before
    return shares / math.factorial(players)


@pytest.mark.parametrize("players", [1, 2, 5])
def test_exact_shapley_is_the_mean_gain_over_every_order(players):
    game = game_of(players, players)
    np.testing.assert_allclose(exact_shapley(game, players), by_definition(game, players))


def test_sampled_shapley_adds_up_and_comes_near_the_exact():
    game = game_of(0, 6)
    few = sampled_shapley(game, 6, 1, np.random.default_rng(0))
    many = sampled_shapley(game, 6, 2000, np.random.default_rng(0))
    whole = game(np.ones((1, 6), dtype=bool))[0] - game(np.zeros((1, 6), dtype=bool))[0]
    assert few.sum() == pytest.approx(whole)
    np.testing.assert_allclose(many, exact_shapley(game, 6), atol=0.05)


@pytest.fixture(scope="module")
def tiny():
    forecaster = Forecaster.load(TINY_MODEL)
    past, ahead = forecaster.background()
    return forecaster, past[-1], ahead[-1]


def test_explanation_adds_up_in_all_three_ways(tiny):
    forecaster, window, ahead = tiny
    found = Explainer(forecaster, background=2).explain(window, ahead)
    difference = found.output_value - found.base_value
    tolerance = explanation.TOLERANCE * abs(difference)
    assert found.additivity_error <= explanation.TOLERANCE
    for shares in (
        found.by_feature.values(),
        found.by_day.values(),
        *[map(sum, found.feature_by_day)],
    ):
        assert sum(shares) == pytest.approx(difference, abs=tolerance)
    assert list(found.by_feature) == list(FEATURES)
    assert list(found.by_day)[-1] == "ahead"


# shap's import uses a colormap call that matplotlib means to retire
@pytest.mark.filterwarnings("ignore:The set_.* function will be:PendingDeprecationWarning")
def test_explanation_agrees_with_shaps_exact_explainer(tiny):
    import shap
    import shap.maskers

    forecaster, window, ahead = tiny
    explainer = Explainer(forecaster, background=1)
    game = explainer._game(window, ahead, explanation._feature_masks())
    ours = explainer.by_feature(window, ahead)
    masker = shap.maskers.Independent(np.zeros((1, len(FEATURES))))
    theirs = shap.ExactExplainer(lambda rows: game(rows.astype(bool)), masker)(
        np.ones((1, len(FEATURES)))
    )
    np.testing.assert_allclose(ours, theirs.values[0], atol=1e-6 * np.abs(ours).max())


def test_explanation_survives_json(tiny):
    forecaster, window, ahead = tiny
    found = Explainer(forecaster, background=1, horizon_day=0, level=0.9).explain(window, ahead)
    assert Explanation.from_json(found.to_json()) == found


def test_explaining_a_background_window_alone_shares_nothing(tiny):
    forecaster, _, _ = tiny
    past, ahead = forecaster.background()
    found = Explainer(forecaster, background=1).explain(past[0], ahead[0])
    assert found.output_value == pytest.approx(found.base_value)
    assert max(map(abs, found.by_feature.values())) < 1e-5 * abs(found.output_value)


def test_explainer_refuses_what_the_model_does_not_forecast(tiny):
    forecaster, _, _ = tiny
    with pytest.raises(ValueError, match=r"level: expected one of \(0.1, 0.5, 0.9\), got 0.3"):
        Explainer(forecaster, level=0.3)
    with pytest.raises(ValueError, match="horizon_day: expected 0 to 3, got 4"):
        Explainer(forecaster, horizon_day=4)


@pytest.mark.parametrize("cause", ["fator_externo", "evento_especial"])
def test_only_cause_ranks_first(cause, tmp_path):
    rng = np.random.default_rng(1)
    days = 420
    factor = rng.normal(5, 2, days)
    event = (rng.random(days) < 0.15).astype(float)
    moved = 4 * (factor - 5) if cause == "fator_externo" else 20 * event
    panel = panel_of(100 + moved + rng.normal(0, 0.5, days), factor=[factor], event=[event])
    spans = spans_of(panel)
    data = training.prepare(panel, spans, shape := ModelConfig(horizon=7, hidden=8))
    settings = training.TrainingConfig(steps=120, batch=32, evaluate_every=40, learning_rate=0.01)
    forecaster = export.save_artifact(
        tmp_path, training.fit(data, shape, settings), data, panel, spans
    )
    table = features.compute(panel)
    ends = np.flatnonzero(panel.dates > spans.validation_end)[:8]
    windows = features.gather_context(panel, table, ends, shape.max_context)
    ahead = features.future_of(panel, ends, shape.horizon)
    explainer = Explainer(forecaster, background=1)
    shares = np.abs([explainer.by_feature(w, f) for w, f in zip(windows, ahead, strict=True)])
    assert FEATURES[int(shares.mean(axis=0).argmax())] == cause
