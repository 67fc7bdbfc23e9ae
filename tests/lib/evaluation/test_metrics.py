"""Each metric against a plain loop, and where there is nothing to divide by."""

import math

import numpy as np
import pytest

from lib.evaluation import metrics
from tests.panels import panel_of

POINT_METRICS = (metrics.mae, metrics.rmse, metrics.bias, metrics.r2, metrics.smape, metrics.wape)
LEVELS = (0.1, 0.5, 0.9)
NAN = math.nan


@pytest.fixture
def pairs():
    """Actuals and forecasts of 4 series over 30 days, some of both missing."""
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(50, 9, (2, 4, 30))
    actual[rng.random((4, 30)) < 0.2] = NAN
    forecast[rng.random((4, 30)) < 0.1] = NAN
    return actual, forecast


def complete(actual, forecast):
    return [
        (y, f)
        for y, f in zip(actual.ravel().tolist(), forecast.ravel().tolist(), strict=True)
        if not (math.isnan(y) or math.isnan(f))
    ]


def test_point_metrics_equal_a_loop_over_pairs(pairs):
    seen = complete(*pairs)
    errors = [f - y for y, f in seen]
    mean = sum(y for y, _ in seen) / len(seen)
    expected = {
        "mae": sum(map(abs, errors)) / len(seen),
        "rmse": math.sqrt(sum(e**2 for e in errors) / len(seen)),
        "bias": sum(errors) / len(seen),
        "r2": 1 - sum(e**2 for e in errors) / sum((y - mean) ** 2 for y, _ in seen),
        "smape": 200 / len(seen) * sum(abs(f - y) / (abs(y) + abs(f)) for y, f in seen),
        "wape": 100 * sum(map(abs, errors)) / sum(abs(y) for y, _ in seen),
    }
    for name, value in expected.items():
        assert getattr(metrics, name)(*pairs) == pytest.approx(value), name


@pytest.mark.parametrize("metric", POINT_METRICS)
def test_point_metrics_of_nothing_are_missing(metric):
    assert math.isnan(metric(np.array([NAN, 1.0]), np.array([1.0, NAN])))


def test_metrics_without_a_denominator_are_missing():
    zeros, ones = np.zeros(3), np.ones(3)
    assert math.isnan(metrics.wape(zeros, ones))
    assert math.isnan(metrics.r2(ones, zeros))
    assert math.isnan(metrics.wql(zeros, np.ones((3, 3)), LEVELS))
    assert math.isnan(metrics.mase(ones, zeros, np.full(3, NAN), np.arange(3)))


def test_smape_counts_two_zeros_as_no_error():
    assert metrics.smape(np.array([0.0, 1.0]), np.array([0.0, 3.0])) == pytest.approx(50)


def test_mase_counts_each_series_once_and_leaves_out_those_without_a_scale(pairs):
    actual, forecast = pairs
    scale = np.array([2.0, NAN, 5.0, 0.5])
    errors = [
        [abs(f - y) / scale[s] for y, f in complete(actual[s], forecast[s])] for s in (0, 2, 3)
    ]
    expected = sum(sum(e) / len(e) for e in errors) / 3
    found = metrics.mase(actual, forecast, scale[:, None], np.arange(4)[:, None])
    assert found == pytest.approx(expected)
    by_series = metrics.mase_by_series(actual, forecast, scale[:, None], np.arange(4)[:, None])
    assert by_series.isna().tolist() == [False, True, False, False]


def test_quantile_metrics_equal_a_loop(pairs):
    actual, middle = pairs[0], np.nan_to_num(pairs[1], nan=50.0)
    quantiles = middle[..., None] + np.array([-8.0, 0.0, 8.0])
    rows = [(y, q) for y, q in zip(actual.ravel(), quantiles.reshape(-1, 3), strict=True) if y == y]
    losses = [
        [max(level * (y - f), (level - 1) * (y - f)) for level, f in zip(LEVELS, q, strict=True)]
        for y, q in rows
    ]
    total = sum(abs(y) for y, _ in rows)
    expected = 200 * sum(sum(loss) / 3 for loss in losses) / total
    assert metrics.wql(actual, quantiles, LEVELS) == pytest.approx(expected)
    for i, level in enumerate(LEVELS):
        mean = sum(loss[i] for loss in losses) / len(losses)
        assert metrics.pinball_loss(actual, quantiles[..., i], level) == pytest.approx(mean)
    inside = sum(q[0] <= y <= q[2] for y, q in rows) / len(rows)
    found = metrics.coverage(actual, quantiles[..., 0], quantiles[..., 2])
    assert found == pytest.approx(100 * inside)


def test_seasonal_scale_equals_a_loop_and_is_missing_without_one():
    values = np.random.default_rng(1).normal(50, 9, 60)
    values[::11] = NAN
    panel = panel_of(values, np.full(60, 3.0), values[:7])
    until = panel.dates[40]
    steps = [abs(values[t] - values[t - 7]) for t in range(7, 41)]
    seen = [step for step in steps if step == step]
    found = metrics.seasonal_scale(panel, until)
    assert found[0] == pytest.approx(sum(seen) / len(seen))
    assert np.isnan(found[1:]).all()
