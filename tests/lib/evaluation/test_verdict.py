import math
from dataclasses import replace

import numpy as np
import pytest

from lib.evaluation.backtest import origin_rows
from lib.evaluation.baseline_quantiles import ERROR_DAYS, baseline_quantiles, run_baselines
from lib.evaluation.baselines import BASELINES
from lib.evaluation.paired_comparison import compare
from lib.evaluation.scores import compute_metrics
from lib.evaluation.verdict import MIN_SCORED_DAYS, judge
from tests.panels import FIRST, changed_after, lively_panel, panel_of

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HORIZON = 5


@pytest.fixture(scope="module")
def panel():
    return lively_panel(days=220, missing=0.1)


@pytest.fixture(scope="module")
def origins(panel):
    return origin_rows(panel, horizon=HORIZON, cutoffs=4, step=7)


@pytest.fixture(scope="module")
def results(panel, origins):
    return run_baselines(panel, origins, HORIZON)


@pytest.mark.parametrize("name", list(BASELINES))
def test_baseline_quantiles_equal_a_plain_loop(panel, origins, name):
    forecast = BASELINES[name]
    points = forecast(panel, origins, HORIZON)
    found = baseline_quantiles(forecast, panel, origins, points, LEVELS)
    for i, origin in enumerate(origins):
        start = panel.offsets[panel.series_of(origin)]
        for h in range(1, HORIZON + 1):
            earlier = np.arange(max(start, origin - h - ERROR_DAYS + 1), origin - h + 1)
            errors = panel.values[earlier + h] - forecast(panel, earlier, HORIZON)[:, h - 1]
            expected = points[i, h - 1] + np.nanquantile(errors, LEVELS)
            lowest = np.nanmin(panel.values[start : origin + 1])
            expected = np.maximum(expected, 0.0) if lowest >= 0 else expected
            np.testing.assert_allclose(found[i, h - 1], expected)


def test_baseline_quantiles_do_not_know_the_days_after_their_origin(panel, origins):
    first = origins[panel.dates[origins] == panel.dates[origins].min()]
    other = changed_after(panel, panel.dates[first[0]])
    for forecast in BASELINES.values():
        before, after = (
            baseline_quantiles(forecast, p, first, forecast(p, first, HORIZON), LEVELS)
            for p in (panel, other)
        )
        np.testing.assert_array_equal(before, after)


def test_baselines_rise_cover_and_keep_their_points(panel, origins, results):
    for name, result in results.items():
        assert (np.diff(result.quantiles, axis=-1) >= 0).all()
        np.testing.assert_array_equal(result.point, BASELINES[name](panel, origins, HORIZON))
        assert 50 < compute_metrics(result)["coverage_80"] <= 100
        assert compute_metrics(result)["wql"] > 0


def test_baseline_of_a_young_series_pools_the_errors_of_all_days():
    panel = panel_of(np.arange(12.0), np.full(3, 4.0))
    origins = np.array([8, 13])
    forecast = BASELINES["naive"]
    points = forecast(panel, origins, HORIZON)
    found = baseline_quantiles(forecast, panel, origins, points, LEVELS)
    assert np.isfinite(found).all()
    # errors of 1 to 5 days ahead, 8 + 7 + 6 + 5 + 4 of them: half are 1 or 2
    assert found[0, :, 3].tolist() == [10.5] * HORIZON
    assert (found[1] == 4.0).all()


def test_difference_is_that_of_the_scores(results):
    ours, theirs = results["weekday_median"], results["naive"]
    for metric in ("mase", "wql"):
        found = compare(ours, theirs, metric)
        scores = [compute_metrics(result)[metric] for result in (ours, theirs)]
        assert found.score == pytest.approx(scores[0])
        assert found.baseline_score == pytest.approx(scores[1])
        assert found.difference == pytest.approx(scores[0] - scores[1])
        assert found.standard_error > 0


def test_difference_of_equal_forecasts_is_noise_and_unknown_for_one_pair(results):
    ours = results["naive"]
    assert compare(ours, ours).is_noise
    one = replace(
        ours,
        **{name: getattr(ours, name)[:1] for name in ("series", "cutoffs", "actual", "point")},
        scale=ours.scale[:1],
        quantiles=ours.quantiles[:1],
    )
    worse = replace(one, point=one.point + 1)
    assert math.isnan(compare(one, worse).standard_error)
    assert compare(one, worse).is_noise
    with pytest.raises(ValueError, match="expected the same origins"):
        compare(one, ours)


def noisy(results, size, seed=0):
    """Return the truth and noise, with quantiles around it."""
    result = results["naive"]
    rng = np.random.default_rng(seed)
    point = result.actual + rng.normal(0, size, result.actual.shape)
    point = np.where(np.isfinite(point), point, result.point)
    spread = 1.5 * size * np.linspace(-1, 1, len(LEVELS))
    return replace(result, point=point, quantiles=point[..., None] + spread)


def test_good_forecaster_is_better_beyond_noise(results):
    verdict = judge(noisy(results, 0.3), results)
    assert verdict.better
    assert [one.metric for one in verdict.differences] == ["mase", "wql"]
    assert not any(one.is_noise for one in verdict.differences)
    assert "mase" in verdict.reason
    assert "beats" in verdict.reason
    assert "noise" not in verdict.reason
    assert verdict.to_dict()["best_baseline_mase"] in results


def test_simple_forecast_that_is_better_is_named_and_nothing_is_better_than_itself(results):
    verdict = judge(results["naive"], results)
    assert not verdict.better
    assert "is better here" in verdict.reason or "is as good here" in verdict.reason
    best = min(results, key=lambda name: compute_metrics(results[name])["mase"])
    again = judge(results[best], results)
    assert not again.better
    assert "does not beat" in again.reason
    assert "a loss within noise" in again.reason
    assert "is as good here" in again.reason


def test_training_that_gains_nothing_is_said_and_does_not_decide(results):
    ours, better, worse = (noisy(results, size) for size in (0.3, 0.2, 0.4))
    alone = judge(ours, results)
    verdict = judge(ours, results, better)
    assert verdict.better == alone.better
    assert verdict.training_is_idle
    assert verdict.reason.startswith(f"{alone.reason}; training gains nothing here: ")
    assert "does not beat the pretrained network without training" in verdict.reason
    assert verdict.to_dict()["training_is_idle"] is True
    verdict = judge(ours, results, worse)
    assert (verdict.reason, verdict.training_is_idle) == (alone.reason, False)
    assert "training_is_idle" not in alone.to_dict()


def test_gain_within_noise_is_said_to_be_one(results):
    best = min(results, key=lambda name: compute_metrics(results[name])["mase"])
    rival = results[best]
    rng = np.random.default_rng(1)
    step = np.where(rng.random(rival.point.shape[0])[:, None] < 0.5, 1, -1) * 0.05
    better = [
        verdict
        for sign in (1, -1)
        if (
            verdict := judge(
                replace(
                    rival,
                    point=rival.point + sign * step,
                    quantiles=rival.quantiles + sign * step[..., None],
                ),
                {best: rival},
            )
        ).better
    ]
    assert better
    for verdict in better:
        assert "a gain within noise" in verdict.reason
        assert "loss" not in verdict.reason


def test_verdict_needs_enough_days_and_a_sane_coverage(results):
    few = noisy(results, 0.3)
    actual = np.full_like(few.actual, np.nan)
    actual[:2] = few.actual[:2]
    verdict = judge(replace(few, actual=actual), results)
    assert not verdict.better
    assert f"expected at least {MIN_SCORED_DAYS}" in verdict.reason
    narrow = noisy(results, 0.3)
    narrow = replace(narrow, quantiles=np.repeat(narrow.point[..., None], len(LEVELS), axis=-1))
    verdict = judge(narrow, results)
    assert not verdict.better
    assert "the 80 % interval covers 0 %" in verdict.reason


def test_panel_of_constants_has_no_verdict():
    panel = panel_of(np.zeros(200), np.zeros(200))
    origins = origin_rows(panel, horizon=HORIZON, cutoffs=4, step=7)
    assert panel.dates[0] == FIRST
    results = run_baselines(panel, origins, HORIZON)
    verdict = judge(results["naive"], results)
    assert not verdict.better
    assert "constant or zero" in verdict.reason
