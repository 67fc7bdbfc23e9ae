"""Window statistics and base forecasts, against plain loops."""

import math

import numpy as np
import pytest
import torch

from lib.features import engineering, windows
from lib.models.base_forecasts import N_BASE_FORECASTS, compute_base_forecasts
from lib.models.masked import take_last_days
from lib.models.window_statistics import (
    N_LEVELS,
    RAW_HALF_LIVES,
    SEASON_DAYS,
    TREND_HALF_LIVES,
    WindowStatistics,
    series_values,
)
from tests.networks import forecast, inputs, members, network
from tests.panels import lively_panel, panel_of

DAYS = 182
FIRST_TREND = N_LEVELS + 4


def statistics_of(features):
    return WindowStatistics(take_last_days(series_values(features), DAYS))


@pytest.fixture(scope="module")
def window():
    """(statistics, future) of four windows with a fifth of the days missing, one of them short."""
    features, future = inputs(lively_panel(days=400, missing=0.2), [70, 200, 390, 780], horizon=10)
    return statistics_of(features), future


def median(values):
    seen = sorted(v for v in values if not math.isnan(v))
    if not seen:
        return math.nan
    half = len(seen) // 2
    return seen[half] if len(seen) % 2 else (seen[half - 1] + seen[half]) / 2


def discounted_line(values, half_life, *, trend):
    """Level at the last day and slope of exponentially discounted least squares, day by day."""
    days = [(i - len(values) + 1, v) for i, v in enumerate(values) if not math.isnan(v)]
    weights = [0.5 ** (-x / half_life) for x, _ in days]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, days, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, days, strict=True)) / total
    if not trend:
        return mean_y, 0.0
    both = list(zip(weights, days, strict=True))
    covariance = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in both)
    slope = covariance / (sum(w * (x - mean_x) ** 2 for w, (x, _) in both) + half_life**2)
    return mean_y - slope * mean_x, slope


def test_raw_levels_equal_a_plain_weighted_mean(window):
    statistics, _ = window
    values = statistics.deseasonalised.numpy()
    for i, half_life in enumerate(RAW_HALF_LIVES):
        expected = [discounted_line(row, half_life, trend=False)[0] for row in values]
        np.testing.assert_allclose(statistics.levels[:, i].numpy(), expected, rtol=1e-9)


def test_trend_forecasts_equal_plain_discounted_least_squares(window):
    statistics, future = window
    forecasts = compute_base_forecasts(statistics, future).numpy()
    profile = statistics.profile.numpy()
    assert forecasts.shape == (4, 10, N_BASE_FORECASTS)
    for i, half_life in enumerate(TREND_HALF_LIVES):
        for row, values in enumerate(statistics.clean.numpy()):
            start, slope = discounted_line(values, half_life, trend=True)
            expected = [start + slope * (h + 1) + profile[row, h % 7] for h in range(10)]
            np.testing.assert_allclose(forecasts[row, :, FIRST_TREND + i], expected, rtol=1e-9)


def test_weekday_median_and_last_week_equal_plain_loops(window):
    statistics, future = window
    forecasts = compute_base_forecasts(statistics, future).numpy()
    level, profile = statistics.level.numpy(), statistics.profile.numpy()
    for row, values in enumerate(statistics.values.numpy()):
        for h in range(10):
            usual = level[row] + profile[row, h % 7]
            same = [values[-7 * week + h % 7] for week in range(1, SEASON_DAYS // 7 + 1)]
            for i, value in ((N_LEVELS + 2, median(same)), (N_LEVELS + 3, values[-7 + h % 7])):
                expected = usual if math.isnan(value) else value
                assert forecasts[row, h, i] == pytest.approx(expected, rel=1e-12)


def test_weekday_profiles_are_centred_and_scale_is_positive(window):
    statistics, _ = window
    for profile in (statistics.profile, statistics.recent_profile):
        torch.testing.assert_close(profile.mean(-1), torch.zeros(4, dtype=torch.float64))
    assert (statistics.scale > 0).all()


def test_spike_moves_the_clean_level_less_than_the_raw_one():
    values = lively_panel(series=1, missing=0.0, covariates=False).values
    spiked = values.copy()
    spiked[195] += 1000
    before, after = (statistics_of(inputs(panel_of(v), [200])[0]) for v in (values, spiked))
    moved = (after.levels - before.levels)[0]
    assert moved[1] > 50  # half-life 4, as it is
    assert moved[len(RAW_HALF_LIVES)] < 5  # half-life 4, cleaned


def test_statistics_of_a_window_do_not_depend_on_the_others(window):
    statistics, _ = window
    features, _ = inputs(lively_panel(days=400, missing=0.2), [200])
    alone = statistics_of(features)
    torch.testing.assert_close(alone.levels[0], statistics.levels[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(alone.scale[0], statistics.scale[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("factor", "shift"), [(7.0, 0.0), (1.0, 5000.0), (0.01, -300.0)])
def test_base_forecasts_follow_scale_and_shift_of_the_series(factor, shift):
    panel = lively_panel(days=400, missing=0.1, covariates=False)
    other = panel_of(*(factor * panel.values[panel.series(s)] + shift for s in range(2)))
    forecasts = []
    for one in (panel, other):
        features, future = inputs(one, [250, 390, 780], horizon=10)
        forecasts.append(compute_base_forecasts(statistics_of(features), future).numpy())
    np.testing.assert_allclose(forecasts[1], factor * forecasts[0] + shift, rtol=1e-8, atol=1e-8)


def test_forecast_follows_scale_and_shift_apart_from_the_static_inputs_of_the_level():
    """Only the first and the third static input, relative scale and share of zeros, know it."""
    panel = lively_panel(days=400, covariates=False)
    other = panel_of(*(3.0 * panel.values[panel.series(s)] + 700.0 for s in range(2)))
    model = network()
    before, after = (inputs(p, [250, 390, 780]) for p in (panel, other))
    scaled = 3.0 * forecast(model, *before) + 700.0
    assert not np.allclose(forecast(model, *after), scaled, rtol=1e-6)
    with torch.no_grad():
        members(model)[0].summary.weight[:, [-4, -2]] = 0.0
    expected = 3.0 * forecast(model, *before) + 700.0
    np.testing.assert_allclose(forecast(model, *after), expected, rtol=1e-6)


def test_static_shares_count_missing_and_zero_days():
    values = np.ones(200) * 4
    values[-10:-3] = np.nan
    values[-56:-42] = 0.0
    statistics = statistics_of(inputs(panel_of(values), [199])[0])
    _, missing, zero, _ = statistics.describe()[0].tolist()
    assert missing == pytest.approx(7 / SEASON_DAYS)
    assert zero == pytest.approx(14 / SEASON_DAYS)


@pytest.mark.parametrize("dead", [math.nan, 0.0])
def test_scale_of_dead_weeks_is_that_of_the_whole_window(dead):
    values = 100 + 10 * np.random.default_rng(0).normal(size=200)
    values[-60:] = dead
    statistics = statistics_of(inputs(panel_of(values), [199])[0])
    assert 1 < statistics.scale.item() < 100


def test_series_at_rest_stays_there_whatever_it_was_a_year_ago():
    alive = np.arange(380) % 7 + 20.0
    panel = panel_of(np.r_[alive, np.zeros(200)])
    end = np.array([579])
    context = torch.from_numpy(
        windows.gather_context(panel, engineering.compute_features(panel), end, 175)
    )
    future = torch.from_numpy(windows.known_future(panel, end, 28))
    assert (future[..., engineering.FUTURE.index("last_year")] > 0).any()
    statistics = statistics_of(context)
    assert compute_base_forecasts(statistics, future).abs().max() < 1e-6
