"""Shapley values: right on games that are known, adding up on forecasts, faithful to causes."""

import itertools
import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.evaluation import backtest
from lib.explanation import plots
from lib.explanation.explainer import Explainer
from lib.explanation.explanation import Explanation
from lib.explanation.players import (
    FEATURE_OF,
    block_players,
    cell_players,
    feature_players,
    split_blocks,
)
from lib.explanation.shapley import exact_shapley, sampled_owen
from lib.explanation.shares import TOLERANCE, ExplanationError
from lib.features.engineering import FEATURES, FUTURE
from lib.inference.served_model import ServedModel
from lib.models.config import ModelConfig
from lib.pipeline import trained_model
from lib.training import config, export, loop
from lib.training.data import prepare
from tests.panels import TINY_MODEL, panel_of, split_of


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


def owen_by_definition(game, unions, size):
    """Owen values: the mean gain over every order that keeps each union together."""
    shares, orders = np.zeros(unions * size), 0
    inside = [list(itertools.permutations(range(u * size, u * size + size))) for u in range(unions)]
    for outer in itertools.permutations(range(unions)):
        for parts in itertools.product(*(inside[u] for u in outer)):
            orders += 1
            coalition = np.zeros((1, unions * size), dtype=bool)
            for player in itertools.chain(*parts):
                before = game(coalition)[0]
                coalition[0, player] = True
                shares[player] += game(coalition)[0] - before
    return (shares / orders).reshape(unions, size)


def test_sampled_owen_comes_near_the_definition_and_its_rows_sum_exactly():
    game, unions, size = game_of(0, 6), 3, 2
    totals = exact_shapley(lambda c: game(np.repeat(c, size, axis=1)), unions)
    expected = owen_by_definition(game, unions, size)
    np.testing.assert_allclose(expected.sum(axis=1), totals)
    few = sampled_owen(game, totals, size, 1, np.random.default_rng(0))
    many = sampled_owen(game, totals, size, 3000, np.random.default_rng(0))
    np.testing.assert_allclose(few.sum(axis=1), totals)
    np.testing.assert_allclose(many, expected, atol=0.05)


def test_sampled_owen_of_one_player_unions_is_their_shapley_value():
    game = game_of(3, 4)
    totals = exact_shapley(game, 4)
    shares = sampled_owen(game, totals, 1, 1, np.random.default_rng(0))
    np.testing.assert_allclose(shares[:, 0], totals)


@pytest.fixture(scope="module")
def tiny():
    forecaster = ServedModel.load(TINY_MODEL)
    past, ahead = forecaster.background()
    return forecaster, past[-1], ahead[-1]


def test_explanation_adds_up_in_all_three_ways(tiny):
    forecaster, window, ahead = tiny
    explanation = Explainer(forecaster, background=2).explain(window, ahead)
    difference = explanation.output_value - explanation.base_value
    tolerance = TOLERANCE * abs(difference)
    assert explanation.additivity_error <= TOLERANCE
    for shares in (
        explanation.by_feature.values(),
        explanation.by_day.values(),
        [sum(row) for row in explanation.feature_by_day],
    ):
        assert sum(shares) == pytest.approx(difference, abs=tolerance)
    assert list(explanation.by_feature) == list(FEATURES)
    assert list(explanation.by_day)[-1] == "ahead"
    rows = [sum(row) for row in explanation.feature_by_day]
    np.testing.assert_allclose(rows, list(explanation.by_feature.values()), atol=1e-9)


def test_explanation_of_a_short_window_measures_against_its_last_days(tiny):
    forecaster, window, ahead = tiny
    explanation = Explainer(forecaster, background=2).explain(window[-60:], ahead)
    assert explanation.output_value == forecaster.predict(window[None, -60:], ahead[None])[0, 0, 1]
    assert list(explanation.by_day)[-2] == "57-60"


def columns_of(name):
    """Columns of FEATURES and of FUTURE that go with a feature, written out."""
    ahead = {
        "mes_sin": ["mes_sin", "day_of_year_sin"],
        "mes_cos": ["mes_cos", "day_of_year_cos"],
        "lag_1": ["last_year", "last_year_week", "last_year_level"],
    }.get(name, [name])
    return [name], [column for column in ahead if column in FUTURE]


def test_feature_has_its_columns_and_what_is_known_ahead(tiny):
    forecaster, window, ahead = tiny
    explainer = Explainer(forecaster, background=2, horizon_day=2)
    game = explainer.game(window, ahead, feature_players())
    rng = np.random.default_rng(0)
    coalitions = rng.random((12, len(FEATURES))) < 0.5
    expected = []
    for coalition in coalitions:
        outputs = []
        for past, future in zip(*explainer._background, strict=True):
            past, future = past.copy(), future.copy()
            for name in np.array(FEATURES)[coalition]:
                past_columns, ahead_columns = columns_of(str(name))
                for column in past_columns:
                    past[:, FEATURES.index(column)] = window[:, FEATURES.index(column)]
                for column in ahead_columns:
                    future[:, FUTURE.index(column)] = ahead[:, FUTURE.index(column)]
            outputs.append(forecaster.predict(past[None], future[None])[0, 1, 1])
        expected.append(np.mean(outputs))
    np.testing.assert_allclose(game(coalitions), expected, rtol=1e-6)


def test_every_column_of_every_day_belongs_to_one_player():
    blocks = split_blocks(70)
    shapes = (1, 70, len(FEATURES)), (1, 3, len(FUTURE))
    for masks in (
        feature_players(),
        block_players(blocks),
        cell_players(blocks),
    ):
        for mask, shape in zip(masks, shapes, strict=True):
            players = np.broadcast_to(mask, (len(mask), *shape[1:])).sum(axis=0)
            assert (players == 1).all()


def test_explanation_that_does_not_add_up_is_an_error(tiny, monkeypatch):
    forecaster, window, ahead = tiny
    monkeypatch.setitem(FEATURE_OF, "day_of_year_sin", "nobody")
    monkeypatch.setitem(FEATURE_OF, "day_of_year_cos", "nobody")
    ahead = ahead.copy()
    ahead[:, 4:6] *= -1
    with pytest.raises(ExplanationError, match=r"shares miss the difference of .* expected"):
        Explainer(forecaster, background=1).explain(window, ahead)


def test_explanation_repeats_bit_for_bit(tiny):
    forecaster, window, ahead = tiny
    explainer = Explainer(forecaster, background=1)
    first, again = (explainer.explain(window, ahead, permutations=2, seed=3) for _ in range(2))
    assert first == again


# shap's import uses a colormap call that matplotlib means to retire
@pytest.mark.filterwarnings("ignore:The set_.* function will be:PendingDeprecationWarning")
def test_explanation_agrees_with_shaps_exact_explainer(tiny):
    import shap
    import shap.maskers

    forecaster, window, ahead = tiny
    explainer = Explainer(forecaster, background=1)
    game = explainer.game(window, ahead, feature_players())
    ours = explainer.by_feature(window, ahead)
    masker = shap.maskers.Independent(np.zeros((1, len(FEATURES))))
    theirs = shap.ExactExplainer(lambda rows: game(rows.astype(bool)), masker)(
        np.ones((1, len(FEATURES)))
    )
    np.testing.assert_allclose(ours, theirs.values[0], atol=1e-6 * np.abs(ours).max())


def test_explanation_survives_json(tiny):
    forecaster, window, ahead = tiny
    explanation = Explainer(forecaster, background=1, horizon_day=0, level=0.9).explain(
        window, ahead
    )
    assert Explanation.from_json(explanation.to_json()) == explanation
    assert json.loads(explanation.to_json())["horizon_day"] == 0


def test_explaining_a_background_window_alone_shares_nothing(tiny):
    forecaster, _, _ = tiny
    past, ahead = forecaster.background()
    middle = len(past) // 2
    explanation = Explainer(forecaster, background=1).explain(past[middle], ahead[middle])
    assert explanation.output_value == pytest.approx(explanation.base_value)
    assert set(explanation.by_feature.values()) == set(explanation.by_day.values()) == {0.0}


def test_explainer_takes_background_windows_from_all_of_the_span(tiny):
    forecaster, _, _ = tiny
    past, _ = forecaster.background()
    for count, expected in ((1, [4]), (3, [1, 4, 6]), (50, range(8))):
        chosen, _ = Explainer(forecaster, background=count)._background
        np.testing.assert_array_equal(chosen, past[list(expected)])


def test_explainer_refuses_what_the_model_does_not_forecast(tiny):
    forecaster, _, _ = tiny
    with pytest.raises(ValueError, match=r"level: expected one of \(0.1, 0.5, 0.9\), got 0.3"):
        Explainer(forecaster, level=0.3)
    with pytest.raises(ValueError, match="horizon_day: expected 0 to 3, got 4"):
        Explainer(forecaster, horizon_day=4)
    with pytest.raises(ValueError, match="background: expected at least 1 window, got 0"):
        Explainer(forecaster, background=0)


def test_explainer_refuses_windows_of_another_shape(tiny):
    forecaster, window, ahead = tiny
    with pytest.raises(ValueError, match=r"future: expected \(1, 3, 11\), got \(1, 1, 11\)"):
        Explainer(forecaster).explain(window, ahead[:1])
    with pytest.raises(ValueError, match=r"features: expected .* 60 to 70 days"):
        Explainer(forecaster).explain(window[:59], ahead)


def test_load_model_names_the_notebook_to_run(tmp_path):
    panel = panel_of(np.arange(100.0))
    with pytest.raises(FileNotFoundError, match="run 03_training first"):
        trained_model.load_model(tmp_path, panel)
    (tmp_path / "model").symlink_to(TINY_MODEL)
    with pytest.raises(ValueError, match=r"do not belong together .* run 03_training again"):
        trained_model.load_model(tmp_path, panel)


def test_find_cutoff_is_the_last_day_with_a_whole_horizon_after_it():
    panel = panel_of(np.arange(100.0), np.arange(80.0))
    assert backtest.find_cutoff(panel, "", "", 7) == 92
    assert backtest.find_cutoff(panel, "s1", "", 7) == 172
    assert backtest.find_cutoff(panel, "s1", "2022-03-01", 7) == 100 + 59


def test_find_cutoff_passes_over_a_series_that_is_too_new():
    panel = panel_of(np.arange(5.0), np.arange(34.0), np.arange(35.0))
    assert backtest.find_cutoff(panel, "", "", 7) == 5 + 34 + 27
    assert backtest.find_cutoff(panel, "s1", "", 7) == 5 + 26


@pytest.mark.parametrize(
    ("series", "cutoff", "message"),
    [
        ("s9", "", "SERIES: expected one of s0 or empty, got 's9'"),
        ("", "soon", "CUTOFF_DATE: expected YYYY-MM-DD or empty, got 'soon'"),
        ("", "2021-12-31", "CUTOFF_DATE: expected a day from 2022-01-01 to 2022-04-10"),
    ],
)
def test_find_cutoff_refuses_what_is_not_there(series, cutoff, message):
    with pytest.raises(ValueError, match=message):
        backtest.find_cutoff(panel_of(np.arange(100.0)), series, cutoff, 7)


@pytest.mark.parametrize("cause", ["fator_externo", "evento_especial"])
def test_only_cause_ranks_first(cause, tmp_path):
    rng = np.random.default_rng(1)
    days = 420
    factor = rng.normal(5, 2, days)
    event = (rng.random(days) < 0.15).astype(float)
    moved = 4 * (factor - 5) if cause == "fator_externo" else 20 * event
    panel = panel_of(100 + moved + rng.normal(0, 0.5, days), factor=[factor], event=[event])
    split = split_of(panel)
    data = prepare(panel, split, shape := ModelConfig(horizon=7, hidden=8))
    settings = config.TrainingConfig(
        steps=120, batch_size=32, evaluate_every=40, learning_rate=0.01
    )
    forecaster = export.save_artifact(tmp_path, loop.fit(data, shape, settings), data, panel, split)
    origins = np.flatnonzero(panel.dates > split.validation_end)[:8]
    shares, names = Explainer(forecaster, own_windows=4).sample_days(panel, origins)
    mean = np.abs(shares).mean(axis=0)
    assert names == FEATURES
    assert FEATURES[int(mean.argmax())] == cause


@pytest.mark.filterwarnings("ignore:The set_.* function will be:PendingDeprecationWarning")
def test_figures_show_every_feature_and_block(tiny):
    forecaster, window, ahead = tiny
    explainer = Explainer(forecaster, background=1)
    explanation = explainer.explain(window, ahead)
    shares = np.tile(explainer.by_feature(window, ahead), (3, 1))
    figures = [
        plots.plot_waterfall(explanation, window[-1]),
        plots.plot_map(explanation),
        plots.plot_importance(shares),
        plots.plot_beeswarm(shares, np.tile(window[-1], (3, 1))),
    ]
    for figure in figures:
        figure.canvas.draw()
        labels = " ".join(text.get_text() for text in figure.axes[0].get_yticklabels())
        assert all(name in labels for name in FEATURES)
    days = plots.plot_days(explanation).axes[0]
    assert [t.get_text() for t in days.get_xticklabels()] == [
        *list(explanation.by_day)[-2::-1],
        "ahead",
    ]
    plt.close("all")


def test_waterfall_shows_rounding_noise_as_zero_and_its_labels_apart(tiny):
    forecaster, window, ahead = tiny
    explanation = Explainer(forecaster, background=1).explain(window, ahead)
    latest = window[-1].copy()
    latest[FEATURES.index("mes_sin")] = np.sin(2 * np.pi)
    figure = plots.plot_waterfall(explanation, latest)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert "month, sine (mes_sin) = 0" in [text.get_text() for text in axis.get_yticklabels()]
    base, forecast = axis.texts
    assert not base.get_window_extent().overlaps(forecast.get_window_extent())
    inside = figure.bbox
    shares = axis.child_axes[0].get_yticklabels()
    assert len(shares) == len(FEATURES)
    for text in (base, forecast, *shares):
        box = text.get_window_extent()
        assert inside.x0 <= box.x0, text.get_text()
        assert box.x1 <= inside.x1, text.get_text()
    low, high = axis.get_xlim()
    for bar in axis.patches:
        ends = bar.get_extents().transformed(axis.transData.inverted())
        assert low < ends.x0 <= ends.x1 < high
    plt.close(figure)


def test_waterfall_writes_numbers_as_people_do(tiny):
    forecaster, window, ahead = tiny
    explanation = Explainer(forecaster, background=1).explain(window, ahead)
    large = replace(
        explanation,
        base_value=5e6,
        by_feature=dict.fromkeys(FEATURES, 0.0) | {"lag_1": -1876.0, "lag_7": 1234567.0},
    )
    latest = window[-1].copy()
    latest[FEATURES.index("evento_especial")] = np.nan
    figure = plots.plot_waterfall(large, latest)
    figure.canvas.draw()
    axis = figure.axes[0]
    shares = [text.get_text() for text in axis.child_axes[0].get_yticklabels()]
    assert {"-1,880", "+1,230,000"} <= set(shares)
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert "special event (evento_especial) = not given" in labels
    assert "base 5,000,000" in [text.get_text() for text in axis.texts]
    texts = [*shares, *labels, *(tick.get_text() for tick in axis.get_xticklabels())]
    assert not any("e+" in text or "nan" in text for text in texts)
    plt.close(figure)
