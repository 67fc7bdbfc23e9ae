"""Level-shift augmentation: what changes, what must not, and that nothing leaks."""

from dataclasses import replace

import numpy as np
import pytest

from lib.calibration import PreparedData
from lib.data import split_days
from lib.features import DAY_OF_YEAR, engineering
from lib.features.window_index import index_windows
from lib.models import ModelConfig
from lib.training import augmentation, data
from lib.training.config import TrainingConfig
from tests import window_values
from tests.panels import lively_panel, panel_of

HORIZON = 14


def windows_of(panel, min_history=60):
    return index_windows(
        panel, engineering.compute_features(panel), HORIZON, min_history=min_history
    )


def shift(panel, seed=0, count=40, min_history=60):
    windows = windows_of(panel, min_history)
    rng = np.random.default_rng(seed)
    index = rng.integers(len(windows.origins), size=count)
    return windows, index, augmentation.shift_levels(windows, index, rng)


def values_of(windows, index):
    return window_values.values_of(windows.context(index, 120))


def test_only_the_past_before_the_shift_changes():
    windows, index, shifted = shift(lively_panel(days=700, series=3))
    all_rows = np.arange(len(index))
    np.testing.assert_array_equal(windows.targets(index), shifted.targets(all_rows))
    before, after = values_of(windows, index), values_of(shifted, all_rows)
    np.testing.assert_array_equal(np.isnan(before), np.isnan(after))
    differs = ~np.isclose(before, after, equal_nan=True)
    since = differs.shape[1] - differs[:, ::-1].argmax(axis=1)  # days that differ end here
    assert differs.any(axis=1).all()
    assert (since >= differs.shape[1] - augmentation.SHIFT_DAYS[1]).all()
    assert (since <= differs.shape[1] - augmentation.SHIFT_DAYS[0]).all(), "the last days stay"
    for row, seen, end in zip(differs, np.isfinite(before), since, strict=True):
        assert (row & seen)[:end].sum() > 0.9 * seen[:end].sum()


def test_calendar_and_covariates_stay_and_last_year_follows_its_level():
    panel = lively_panel(days=900, series=1, missing=0.0)
    windows, index, shifted = shift(panel, min_history=450)
    all_rows = np.arange(len(index))
    before, after = windows.known_future(index), shifted.known_future(all_rows)
    np.testing.assert_array_equal(before[..., :8], after[..., :8])
    context, context_again = windows.context(index, 90), shifted.context(all_rows, 90)
    for name in ("dia_semana_sin", "mes_cos", "fator_externo", "evento_especial"):
        column = engineering.FEATURES.index(name)
        np.testing.assert_array_equal(context[..., column], context_again[..., column])
    # a change of level alone scales all of last year alike
    ratio = after[..., 8:] / before[..., 8:]
    spread = np.nanmax(ratio, axis=(1, 2)) - np.nanmin(ratio, axis=(1, 2))
    assert 0.2 < (spread < 1e-9).mean() < 0.8


def test_window_equals_that_of_a_series_shifted_as_a_whole(monkeypatch):
    """The features of a shifted window are those of the whole series, shifted on that day."""
    monkeypatch.setattr(augmentation, "draw_shifted_past", lambda past, rng: 1.5 * past + 2)
    panel = lively_panel(days=800, series=2)
    windows, index, shifted = shift(panel, count=12)
    all_rows = np.arange(len(index))
    contexts, futures = shifted.context(all_rows, 150), shifted.known_future(all_rows)
    drawn = np.random.default_rng(0)
    drawn.integers(len(windows.origins), size=12)
    days = drawn.integers(augmentation.SHIFT_DAYS[0], augmentation.SHIFT_DAYS[1] + 1, size=12)
    for row, (end, day) in enumerate(zip(windows.origins[index], days, strict=True)):
        values = panel.values.copy()
        start = panel.first_row_of(np.array([end]))[0]
        values[start : end - day + 1] = 1.5 * values[start : end - day + 1] + 2
        whole = windows_of(replace(panel, values=values))
        same = np.flatnonzero(whole.origins == end)
        np.testing.assert_allclose(contexts[row], whole.context(same, 150)[0], rtol=1e-9)
        np.testing.assert_allclose(futures[row], whole.known_future(same)[0], rtol=1e-9)


def test_zeros_stay_and_no_value_falls_below_zero_where_none_did():
    counts = np.random.default_rng(3).poisson(0.7, size=600).astype(float)
    windows, index, shifted = shift(panel_of(counts))
    before, after = values_of(windows, index), values_of(shifted, np.arange(len(index)))
    np.testing.assert_array_equal(before[:, :-1] == 0, after[:, :-1] == 0)
    assert np.nanmin(shifted.panel.values) >= 0
    _, _, signed = shift(panel_of(counts - 1))
    assert np.nanmin(signed.panel.values) < -1


def sizes(level, noise, count=300):
    """Return the shifts of the pasts of a noisy level, as shares of it."""
    past = level + np.random.default_rng(0).normal(
        0, noise, size=(count, augmentation.HISTORY_DAYS + 1)
    )
    week = engineering.rolling_mean(past.ravel(), np.tile(np.arange(past.shape[1]), count), 7)[0]
    week = week.reshape(past.shape)
    other = augmentation.draw_shifted_past(past, np.random.default_rng(1))
    later = slice(30, None)  # whose weeks are whole
    shifted = engineering.rolling_mean(other.ravel(), np.tile(np.arange(past.shape[1]), count), 7)[
        0
    ]
    return np.abs(np.median(shifted.reshape(past.shape)[:, later] / week[:, later], axis=1) - 1)


def test_a_level_moves_farther_than_noise_and_no_farther_than_the_series_does():
    # two to four mean deviations, each as its own weeks show it: 8 of 10,000, then 12 of 100
    few, more = 10_000 * sizes(10_000, 10) / 8, 100 * sizes(100, 15) / 12
    assert few.min() > 1.5
    assert 3.5 < few.max() < 5.5
    assert 1.5 < more.min() < 2.1
    assert more.max() < 5.5


def test_smallest_shift_is_at_most_half_of_a_level():
    noisy = sizes(100, 60)
    assert 0.4 < noisy.min() < 0.6


def test_constant_series_stay_and_negative_ones_shift():
    constant = np.full((3, augmentation.HISTORY_DAYS + 1), 5.0)
    np.testing.assert_array_equal(
        augmentation.draw_shifted_past(constant, np.random.default_rng(0)), constant
    )
    negative = -100 + np.random.default_rng(0).normal(
        0, 10, size=(50, augmentation.HISTORY_DAYS + 1)
    )
    other = augmentation.draw_shifted_past(negative, np.random.default_rng(0)).mean(axis=1)
    assert (np.abs(other + 100) > 10).all()
    assert (other < 0).all()


def test_window_without_a_value_since_the_shift_keeps_its_past():
    weekly = np.where(np.arange(600) % 28 == 0, 100.0 + np.arange(600), np.nan)
    windows, index, shifted = shift(panel_of(weekly))
    before, after = values_of(windows, index), values_of(shifted, np.arange(len(index)))
    last = np.array([row[np.isfinite(row)][-1] for row in before])
    np.testing.assert_array_equal(last, [row[np.isfinite(row)][-1] for row in after])


def test_the_future_of_a_window_does_not_reach_its_past():
    panel, other = lively_panel(days=500, series=1), lively_panel(days=500, series=1)
    windows = windows_of(panel)
    index = np.array([100])
    other.values[windows.origins[100] + 1 :] *= -3  # also its sign, by which zero is a floor
    only = np.array([0])
    for seed in range(20):
        first, second = (
            augmentation.shift_levels(windows_of(p), index, np.random.default_rng(seed))
            for p in (panel, other)
        )
        np.testing.assert_array_equal(first.context(only, 150), second.context(only, 150))
        np.testing.assert_array_equal(first.known_future(only), second.known_future(only))
        assert not np.array_equal(first.targets(only), second.targets(only))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_batch_has_about_the_given_share_of_shifted_windows(share):
    windows = windows_of(lively_panel(days=400, series=2))
    index = np.arange(60)
    learned_from = PreparedData(windows, windows, 0.0, 1.0, nonnegative=True)
    config = TrainingConfig(level_shift_prob=share, covariate_dropout=0.0)
    batch = augmentation.gather_augmented(learned_from, index, 90, config, np.random.default_rng(0))
    plain = data.batch_of(windows, index, 90)
    differs = [
        not np.array_equal(a, b, equal_nan=True) for a, b in zip(batch[0], plain[0], strict=True)
    ]
    assert abs(np.mean(differs) - share) < 0.15
    np.testing.assert_array_equal(batch[2], plain[2])


def test_short_and_silent_series_are_shifted():
    short, silent = np.arange(90.0), np.zeros(90)
    missing = np.full(90, np.nan)
    windows = windows_of(panel_of(short, silent, missing))
    shifted = augmentation.shift_levels(
        windows, np.arange(len(windows.origins)), np.random.default_rng(0)
    )
    values = shifted.panel.values.reshape(len(windows.origins), -1)
    assert np.isfinite(values).any(axis=1).sum() == 2 * len(windows.origins) // 3


def test_what_dates_do_is_never_hidden_and_is_no_covariate(monkeypatch):
    """Of two covariates and the date, only the covariates are unknown in some windows."""
    monkeypatch.setattr(data, "FIT_DATES_FROM", 1_000)
    panel = lively_panel(days=1500, series=1, missing=0.0)
    day = (panel.dates - panel.dates.astype("datetime64[Y]")).astype(int)
    panel = replace(panel, values=panel.values * np.exp(0.3 * np.sin(2 * np.pi * day / 365)))
    split = split_days(panel, horizon=HORIZON, cutoffs=2, step=HORIZON, validation_days=120)
    shape = ModelConfig(horizon=HORIZON)
    prepared = data.prepare(panel, split, shape)
    assert prepared.effects
    assert prepared.effects.names[-1] == DAY_OF_YEAR
    index = np.arange(0, len(prepared.train.origins), 10)
    _, hidden = augmentation.hide_covariates(
        prepared.train, index, prepared.effects, np.random.default_rng(0)
    )
    assert hidden[:, :-1].any(axis=1).all()
    assert not hidden[:, -1].any()
    assert prepared.has_covariates

    unknown = np.full(len(panel.values), np.nan)
    alone = data.prepare(replace(panel, factor=unknown, event=unknown), split, shape)
    assert alone.effects
    assert alone.effects.names == (DAY_OF_YEAR,)
    assert not alone.has_covariates
    rng = np.random.default_rng(0)
    batch = augmentation.gather_augmented(alone, index, 60, TrainingConfig(), rng)
    assert len(batch.targets) == len(index)

    monkeypatch.setattr(data, "FIT_DATES_FROM", 2_000)
    assert data.prepare(replace(panel, factor=unknown, event=unknown), split, shape).effects is None
