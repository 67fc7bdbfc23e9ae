"""The fixed references of a window, against plain loops; nothing of them is learned."""

import math

import numpy as np
import pytest
import torch

from lib.features import engineering, windows
from lib.models.window_statistics import (
    LEVEL_HALF_LIVES,
    N_BASE_FORECASTS,
    RAW_HALF_LIVES,
    SEASON_DAYS,
    TREND_HALF_LIVES,
    WindowStatistics,
    centred,
    finite_or_zero,
    masked_mean,
    mean_of,
    padded,
    present,
    series_values,
    signed_log,
)
from tests.networks import forecast, inputs, members, network
from tests.panels import lively_panel, panel_of

DAYS = 182
FIRST_TREND = len(RAW_HALF_LIVES + LEVEL_HALF_LIVES) + 4


def season_of(features):
    return WindowStatistics(padded(series_values(features), DAYS))


@pytest.fixture(scope="module")
def window():
    """(season, future) of four windows with a fifth of the days missing, one of them short."""
    features, future = inputs(lively_panel(days=400, missing=0.2), [70, 200, 390, 780], horizon=10)
    return season_of(features), future


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
    season, _ = window
    flat = season.flat.numpy()
    for i, half_life in enumerate(RAW_HALF_LIVES):
        expected = [discounted_line(row, half_life, trend=False)[0] for row in flat]
        np.testing.assert_allclose(season.levels[:, i].numpy(), expected, rtol=1e-9)


def test_trend_references_equal_plain_discounted_least_squares(window):
    season, future = window
    found = season.references(future).numpy()
    profile = season.profile.numpy()
    assert found.shape == (4, 10, N_BASE_FORECASTS)
    for i, half_life in enumerate(TREND_HALF_LIVES):
        for row, values in enumerate(season.clean.numpy()):
            start, slope = discounted_line(values, half_life, trend=True)
            expected = [start + slope * (h + 1) + profile[row, h % 7] for h in range(10)]
            np.testing.assert_allclose(found[row, :, FIRST_TREND + i], expected, rtol=1e-9)


def test_weekday_median_and_last_week_equal_plain_loops(window):
    season, future = window
    found = season.references(future).numpy()
    base = len(RAW_HALF_LIVES + LEVEL_HALF_LIVES)
    level, profile = season.level.numpy(), season.profile.numpy()
    for row, values in enumerate(season.values.numpy()):
        for h in range(10):
            usual = level[row] + profile[row, h % 7]
            same = [values[-7 * week + h % 7] for week in range(1, SEASON_DAYS // 7 + 1)]
            for i, value in ((base + 2, median(same)), (base + 3, values[-7 + h % 7])):
                expected = usual if math.isnan(value) else value
                assert found[row, h, i] == pytest.approx(expected, rel=1e-12)


def test_weekday_profiles_are_centred_and_scale_is_positive(window):
    season, _ = window
    for profile in (season.profile, season._profiles[:, 1]):
        torch.testing.assert_close(profile.mean(-1), torch.zeros(4, dtype=torch.float64))
    assert (season.scale > 0).all()


def test_spike_moves_the_clean_level_less_than_the_raw_one():
    values = lively_panel(series=1, missing=0.0, covariates=False).values
    spiked = values.copy()
    spiked[195] += 1000
    before, after = (season_of(inputs(panel_of(v), [200])[0]) for v in (values, spiked))
    moved = (after.levels - before.levels)[0]
    assert moved[1] > 50  # half-life 4, as it is
    assert moved[len(RAW_HALF_LIVES)] < 5  # half-life 4, cleaned


def test_season_of_a_window_does_not_depend_on_the_others(window):
    season, _ = window
    features, _ = inputs(lively_panel(days=400, missing=0.2), [200])
    alone = season_of(features)
    torch.testing.assert_close(alone.levels[0], season.levels[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(alone.scale[0], season.scale[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("factor", "shift"), [(7.0, 0.0), (1.0, 5000.0), (0.01, -300.0)])
def test_references_follow_scale_and_shift_of_the_series(factor, shift):
    panel = lively_panel(days=400, missing=0.1, covariates=False)
    other = panel_of(*(factor * panel.values[panel.series(s)] + shift for s in range(2)))
    found = []
    for some in (panel, other):
        features, future = inputs(some, [250, 390, 780], horizon=10)
        found.append(season_of(features).references(future).numpy())
    np.testing.assert_allclose(found[1], factor * found[0] + shift, rtol=1e-8, atol=1e-8)


def test_forecast_follows_scale_and_shift_but_for_what_the_network_is_told_of_the_level():
    """Only the first and the third static input, relative scale and share of zeros, know it."""
    panel = lively_panel(days=400, covariates=False)
    other = panel_of(*(3.0 * panel.values[panel.series(s)] + 700.0 for s in range(2)))
    model = network()
    before, after = (inputs(p, [250, 390, 780]) for p in (panel, other))
    told = 3.0 * forecast(model, *before) + 700.0
    assert not np.allclose(forecast(model, *after), told, rtol=1e-6)
    with torch.no_grad():
        members(model)[0].summary.weight[:, [-4, -2]] = 0.0
    expected = 3.0 * forecast(model, *before) + 700.0
    np.testing.assert_allclose(forecast(model, *after), expected, rtol=1e-6)


def test_static_shares_count_missing_and_zero_days():
    values = np.ones(200) * 4
    values[-10:-3] = np.nan
    values[-56:-42] = 0.0
    season = season_of(inputs(panel_of(values), [199])[0])
    _, missing, zero, _ = season.static()[0].tolist()
    assert missing == pytest.approx(7 / SEASON_DAYS)
    assert zero == pytest.approx(14 / SEASON_DAYS)


def test_masked_helpers_skip_what_is_missing():
    x = torch.tensor([[1.0, math.nan, -3.0], [math.nan] * 3], dtype=torch.float64)
    assert masked_mean(x).tolist() == [-1.0, 0.0]
    assert mean_of(finite_or_zero(x), present(x)).tolist() == [-1.0, 0.0]
    assert padded(x, 5)[0].nan_to_num(9.0).tolist() == [9.0, 9.0, 1.0, 9.0, -3.0]
    assert padded(x, 2)[0].nan_to_num(9.0).tolist() == [9.0, -3.0]
    assert centred(torch.tensor([1.0, 3.0])).tolist() == [-1.0, 1.0]


def test_squash_is_the_inverse_hyperbolic_sine_and_missing_is_zero():
    x = np.array([0.0, 1e-6, -2.0, 1e9, -1e12])
    np.testing.assert_allclose(signed_log(torch.tensor(x)).numpy(), np.arcsinh(x), rtol=1e-9)
    assert signed_log(torch.tensor([math.nan])).item() == 0.0


@pytest.mark.parametrize("dead", [math.nan, 0.0])
def test_scale_of_dead_weeks_is_that_of_the_whole_window(dead):
    values = 100 + 10 * np.random.default_rng(0).normal(size=200)
    values[-60:] = dead
    season = season_of(inputs(panel_of(values), [199])[0])
    assert 1 < season.scale.item() < 100


def test_series_that_has_come_to_rest_stays_there_whatever_it_was_a_year_ago():
    was = np.arange(380) % 7 + 20.0
    panel = panel_of(np.r_[was, np.zeros(200)])
    end = np.array([579])
    context = torch.from_numpy(
        windows.gather_context(panel, engineering.compute_features(panel), end, 175)
    )
    future = torch.from_numpy(windows.known_future(panel, end, 28))
    assert (future[..., engineering.FUTURE.index("last_year")] > 0).any()
    season = WindowStatistics(padded(series_values(context), 182))
    assert season.references(future).abs().max() < 1e-6
