"""The values that the network recovers from its features equal those recovered in NumPy."""

import numpy as np
import pytest
import torch

from lib.features import engineering
from lib.features.windows import gather_context
from lib.models.window_statistics import series_values
from tests import window_values
from tests.panels import lively_panel, panel_of


@pytest.mark.parametrize("level", [0.0, 1e9, -1e12])
@pytest.mark.parametrize("days", [6, 7, 40])
def test_series_values_in_torch_equal_those_in_numpy_with_gaps_and_at_any_level(level, days):
    rng = np.random.default_rng(days)
    values = level + rng.normal(0, 5, 90)
    values[rng.random(90) < 0.3] = np.nan
    panel = panel_of(values)
    origins = np.arange(days + 7, 90)
    window = gather_context(panel, engineering.compute_features(panel), origins, days)
    expected = window_values.values_of(window)
    in_torch = series_values(torch.from_numpy(window)).numpy()
    np.testing.assert_array_equal(np.isfinite(in_torch), np.isfinite(expected))
    np.testing.assert_allclose(in_torch[:, :-1], expected[:, :-1], rtol=0, atol=0)


def test_series_values_in_torch_equal_those_in_numpy():
    panel = lively_panel(missing=0.2)
    origins = np.arange(100, 290)
    window = gather_context(panel, engineering.compute_features(panel), origins, 60)
    found = series_values(torch.from_numpy(window)).numpy()
    np.testing.assert_allclose(found, window_values.values_of(window), rtol=1e-12)


def test_series_values_in_torch_bound_a_last_value_that_its_mean_makes_absurd():
    panel = lively_panel(missing=0.0)
    window = gather_context(panel, engineering.compute_features(panel), np.array([200]), 60)
    window[:, -1, engineering.FEATURES.index("media_movel_7")] = 1e9
    found = series_values(torch.from_numpy(window)).numpy()
    lags = window[..., engineering.FEATURES.index("lag_1")]
    assert found[0, -1] <= lags.max() + 2 * np.ptp(lags) + 0.5 * abs(lags.max())
    assert window_values.values_of(window)[0, -1] > 1e9
