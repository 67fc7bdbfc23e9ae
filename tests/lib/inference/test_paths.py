"""Ranks of the past, and the paths that are drawn from them."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from lib.calibration import collect_ranks
from lib.calibration.effect_error import measure_effect_error
from lib.calibration.past_ranks import (
    BLOCKS,
    MIN_ORIGINS,
    _measure_shift,
    _rank,
)
from lib.data.panel import MIN_HISTORY_DAYS
from lib.data.splits import DataSplit
from lib.inference.artifact import ArtifactError
from lib.inference.paths import PathSampler
from lib.inference.ranks import CODES, Ranks, normal_scores, score_actuals
from lib.training.zero_shot import save_zero_shot
from tests.panels import changed_after, lively_panel

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HORIZON = 14


def quantiles_of(mean, std, days=HORIZON):
    return np.tile(mean + std * normal_scores(LEVELS), (days, 1))


def ranks_of(origins=300, series=3, persistence=0.0, shared=0.0, correlation=0.0, seed=0):
    """Normal scores of ranks, with a correlation between series."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((origins, 1, HORIZON))
    own = rng.standard_normal((origins, series, HORIZON))
    scores = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    ranked = normal_scores((np.arange(origins) + 0.5) / origins)[scores.argsort(0).argsort(0)]
    codes = np.clip(np.rint(ranked * CODES), -127, 127).astype(np.int8)
    return Ranks(tuple(f"s{i}" for i in range(series)), codes, persistence, shared)


def test_scores_of_normal_forecasts_are_standardised_errors():
    rng = np.random.default_rng(1)
    actual = rng.normal(10, 2, (50, HORIZON))
    quantiles = np.broadcast_to(quantiles_of(10, 2), (50, HORIZON, 7))
    scores = score_actuals(quantiles, actual, LEVELS, rng)
    np.testing.assert_allclose(scores, (actual - 10) / 2, atol=1e-9)


def test_scores_are_missing_where_the_truth_is():
    actual = np.array([10.0, np.nan])
    scores = score_actuals(quantiles_of(10, 2, 2), actual, LEVELS, np.random.default_rng(0))
    assert np.isfinite(scores).tolist() == [True, False]


def test_zeros_that_several_levels_share_spread_over_their_probability():
    quantiles = np.broadcast_to([0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 4.0], (4000, 7))
    scores = score_actuals(quantiles, np.zeros(4000), LEVELS, np.random.default_rng(0))
    normal = NormalDist()
    probabilities = np.array([normal.cdf(score) for score in scores])
    assert probabilities.max() <= 0.5
    assert np.abs(np.histogram(probabilities, 5, (0, 0.5))[0] / 4000 - 0.2).max() < 0.03


def test_paths_have_the_quantiles_of_the_forecast():
    forecast = np.sort(np.random.default_rng(3).gamma(5, 20, (HORIZON, 7)), axis=1)
    for persistence in (0.0, 0.3):
        ranks = ranks_of(origins=400, persistence=persistence, shared=0.5)
        paths = PathSampler(ranks, LEVELS, paths=4000).draw("s1", forecast)
        shares = (paths[..., None] <= forecast).mean(axis=0)
        assert np.abs(shares - LEVELS).max() < 0.03
        assert np.abs(shares.mean(axis=0) - LEVELS).max() < 0.01


def test_tails_go_on_with_the_slope_of_the_last_two_levels():
    codes = np.full((10, 1, 1), 3 * CODES, np.int8)
    paths = PathSampler(Ranks(("s0",), codes, 0.0, 0.0), LEVELS, paths=10)
    assert paths.draw("s0", quantiles_of(10, 2, 1)) == pytest.approx(16)


def test_paths_never_go_below_the_floor():
    sampler = PathSampler(ranks_of(), LEVELS)
    assert sampler.draw("s0", quantiles_of(1, 5), floor=0.0).min() == 0.0


def test_same_seed_gives_the_same_bits_whatever_other_series_there_are():
    first, second = (PathSampler(ranks_of(persistence=0.2), LEVELS, seed=4) for _ in range(2))
    first.draw("s0", quantiles_of(5, 1))
    a, b = first.draw("s2", quantiles_of(5, 1)), second.draw("s2", quantiles_of(5, 1))
    assert a.tobytes() == b.tobytes()
    other = PathSampler(ranks_of(persistence=0.2), LEVELS, seed=5)
    assert not np.array_equal(a, other.draw("s2", quantiles_of(5, 1)))


def test_dependence_between_series_is_that_of_the_origins():
    sampler = PathSampler(ranks_of(origins=1000, correlation=0.8), LEVELS, paths=2000)
    a, b = (sampler.draw(name, quantiles_of(5, 1)) for name in ("s0", "s1"))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(0.8, abs=0.05)


def test_unknown_series_takes_ranks_of_the_pool_at_the_same_origins():
    sampler = PathSampler(ranks_of(origins=1000, correlation=0.8), LEVELS, paths=2000)
    a, b = (sampler.draw(name, quantiles_of(5, 1)) for name in ("s0", "new"))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(0.87, abs=0.05)


def test_persistent_shift_widens_sums_and_leaves_days_as_they_are():
    plain, shifted = (
        PathSampler(ranks_of(origins=500, persistence=p), LEVELS).draw("s0", quantiles_of(5, 1))
        for p in (0.0, 0.3)
    )
    assert shifted.std() == pytest.approx(plain.std(), rel=0.05)
    assert shifted.sum(axis=1).std() > 1.5 * plain.sum(axis=1).std()


def test_model_without_ranks_refuses_to_draw_paths(tiny_model):
    with pytest.raises(ArtifactError, match=r"ranks.npz: this model has none.*Train it again"):
        PathSampler(tiny_model.ranks, LEVELS)


@pytest.fixture(scope="module")
def trained(small_training, tmp_path_factory):
    """(model, panel, split): the artifact of the small fit."""
    from lib.training.export import save_artifact

    panel, split, data, fit = small_training
    return save_artifact(tmp_path_factory.mktemp("m"), fit, data, panel, split), panel, split


def test_artifact_of_a_fit_has_ranks_of_its_validation(trained):
    model, panel, _ = trained
    assert model.contract.format_version == 2
    assert "ranks.npz" in model.contract.sha256
    assert model.ranks is not None
    assert model.ranks.ids == panel.ids
    assert model.ranks.codes.shape[1:] == (2, 7)
    assert (model.folder / "ranks.npz").stat().st_size < 5_000_000


def test_ranks_know_nothing_of_the_days_after_the_validation(trained):
    model, panel, split = trained
    dates = np.arange(split.train_end, split.validation_end - 7 + 1)
    rows = np.flatnonzero(np.isin(panel.dates, dates))
    earlier = np.flatnonzero(panel.dates < split.train_end)
    before = collect_ranks(model, panel, rows, earlier)
    after = collect_ranks(model, changed_after(panel, split.validation_end), rows, earlier)
    assert before is not None
    assert after is not None
    assert before.codes.tobytes() == after.codes.tobytes()
    assert (before.persistence, before.shared) == (after.persistence, after.shared)


def test_ranks_over_the_origins_are_standard_normal(trained):
    scores = np.sort(trained[0].ranks.codes / CODES, axis=0)
    expected = normal_scores((np.arange(len(scores)) + 0.5) / len(scores))
    assert np.abs(scores - expected[:, None, None]).max() <= 0.5 / CODES + 1e-9


def test_days_before_the_validation_are_forecast_by_a_network_that_has_not_learned_them(trained):
    model, panel, split = trained
    rows = np.flatnonzero((panel.dates >= split.train_end) & (panel.dates < split.train_end + 20))
    begun = panel.dates.min() + MIN_HISTORY_DAYS
    earlier = np.flatnonzero((panel.dates >= begun) & (panel.dates < split.train_end))
    alone = collect_ranks(model, panel, rows)
    assert alone is not None
    assert len(alone.codes) == 20
    longer = collect_ranks(model, panel, rows, earlier)
    assert longer is not None
    # 20 days of origins hold (1 + 19 / 7) / 2 independent forecasts, those before count for 5
    assert len(longer.codes) == int(20 * (1.857 + BLOCKS) / 1.857)


def test_pretrained_network_keeps_the_ranks_of_all_days(tmp_path):
    panel = lively_panel(days=200, series=2)
    last = panel.dates.max()
    model = save_zero_shot(tmp_path, panel, DataSplit(last, last, last), horizon=7)
    assert model.ranks is not None
    assert len(model.ranks.codes) == 200 - MIN_HISTORY_DAYS + 1 - 7


def test_shift_makes_the_sum_of_all_series_as_wide_as_it_fell():
    rng = np.random.default_rng(0)
    shocks = 3.0 * (rng.random((200, 1, 1)) < 0.05) * rng.choice([-1, 1], (200, 1, 1))  # of all
    scores = 0.3 + shocks + rng.standard_normal((200, 20, 7))
    ranked = _rank(scores)
    persistence, shared = _measure_shift(scores, ranked, 1e6)
    fell = np.mean(scores.mean(axis=(1, 2)) ** 2) / np.mean(scores**2)
    kept = np.mean(ranked.mean(axis=(1, 2)) ** 2)
    assert kept < fell
    shift = persistence * (shared + (1 - shared) / 20)
    assert (1 - persistence) * kept + shift == pytest.approx(fell, rel=1e-4)
    few, _ = _measure_shift(scores, ranked, 2.0)
    assert few > persistence  # two independent forecasts do not tell how wide it is


def test_too_few_origins_give_no_ranks(trained):
    model, panel, _ = trained
    assert collect_ranks(model, panel, np.arange(100, 100 + MIN_ORIGINS - 1)) is None
    assert collect_ranks(model, panel, np.array([], dtype=np.int64)) is None


def test_ranks_are_read_as_they_were_written(tmp_path):
    ranks = ranks_of(persistence=0.25, shared=0.5)
    ranks.write(tmp_path / "ranks.npz")
    again = Ranks.read(tmp_path / "ranks.npz")
    assert again.ids == ranks.ids
    assert (again.persistence, again.shared) == (0.25, 0.5)
    assert again.codes.tobytes() == ranks.codes.tobytes()


def test_ranks_of_many_series_stay_within_their_bounds(trained, monkeypatch):
    monkeypatch.setattr("lib.calibration.past_ranks.MAX_WINDOWS", 40)
    ranks = collect_ranks(trained[0], lively_panel(series=4), np.arange(100, 250))
    assert ranks is not None
    assert ranks.codes.shape[0] * ranks.codes.shape[1] <= 40


def test_scenario_without_a_change_has_the_paths_of_the_base():
    sampler = PathSampler(ranks_of(persistence=0.2), LEVELS)
    forecast = quantiles_of(5, 1)
    scenario = sampler.draw_scenario("s1", forecast, forecast)
    assert np.array_equal(scenario, sampler.draw("s1", forecast))


@pytest.mark.parametrize(("before", "after"), [(1.0, 1.5), (1.5, 1.0), (1.0, 1.0)])
def test_difference_of_a_scenario_has_the_variance_that_the_forecast_gains(before, after):
    sampler = PathSampler(ranks_of(), LEVELS, paths=4000)
    base, scenario = quantiles_of(20, before), quantiles_of(25, after)
    difference = sampler.draw_scenario("s1", base, scenario) - sampler.draw("s1", base)
    assert difference.mean() == pytest.approx(5, abs=0.05)
    expected = np.sqrt(abs(after**2 - before**2))
    assert difference[:, 0].std() == pytest.approx(expected, rel=0.05, abs=1e-9)


def test_scenario_has_the_quantiles_of_its_forecast():
    sampler = PathSampler(ranks_of(), LEVELS, paths=4000)
    scenario = quantiles_of(25, 2)
    paths = sampler.draw_scenario("s1", quantiles_of(20, 1), scenario)
    assert np.abs((paths[..., None] <= scenario).mean(axis=(0, 1)) - LEVELS).max() < 0.015


def test_error_of_an_effect_is_the_share_that_was_measured():
    ranks = replace(ranks_of(), effect_error=0.2)
    sampler = PathSampler(ranks, LEVELS, paths=4000)
    base, scenario = quantiles_of(20, 2), quantiles_of(25, 2)
    difference = (sampler.draw_scenario("s1", base, scenario) - sampler.draw("s1", base))[:, :3]
    assert difference.std(axis=0) == pytest.approx(np.full(3, 0.2 * 5), rel=0.06)
    assert difference.sum(axis=1).std() > 2.2  # all effects of a path are off together


def test_effect_error_is_not_measured_without_covariates(trained):
    model, panel, _ = trained
    unknown = np.full(len(panel.dates), np.nan)
    plain = replace(panel, factor=unknown, event=unknown)
    rows = np.r_[60:290, 360:590]
    assert np.isnan(measure_effect_error(model, plain, rows))
    assert 0 <= measure_effect_error(model, panel, rows) <= 1
