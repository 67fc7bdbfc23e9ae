"""The network as a function: ordered, finite, equivariant, of any context length."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.features import engineering as ft
from lib.models.config import ModelConfig
from lib.models.window_statistics import series_values
from tests import window_values
from tests.networks import forecast, inputs, network
from tests.panels import lively_panel, panel_of

VARIANTS = [
    {},
    {"cell": "gru", "layers": 2, "dropout": 0.2},
    {"bidirectional": True, "layer_norm": True, "attention": True},
    {"encoder_days": 28, "max_context": 60},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_quantiles_never_cross(variant):
    panel = lively_panel(days=400)
    model = network(**variant)
    days = model.config.max_context
    quantiles = forecast(model, *inputs(panel, [100, 200, 350], days=days))
    assert quantiles.shape == (3, 7, 7)
    assert (np.diff(quantiles, axis=-1) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(st.just(float("nan")), st.floats(-1e12, 1e12), st.just(0.0)),
        min_size=120,
        max_size=120,
    ),
    st.integers(0, 3),
)
def test_any_window_gives_finite_ordered_quantiles(values, seed):
    model = network(seed)
    quantiles = forecast(model, *inputs(panel_of(np.array(values)), [119]))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize(
    "values",
    [np.full(120, 5.0), np.zeros(120), np.full(120, np.nan), np.eye(1, 120, 80)[0] * 9],
    ids=["constant", "zero", "missing", "one sale"],
)
def test_degenerate_window_gives_a_finite_forecast(values):
    assert np.isfinite(forecast(network(), *inputs(panel_of(values), [119]))).all()


def test_no_quantile_is_below_the_floor_of_the_training_data():
    model = network(head=5.0)
    rare = np.where(np.arange(120) % 10 == 0, 3.0, 0.0)
    tensors = inputs(panel_of(rare), [119])
    assert forecast(model, *tensors).min() < 0
    model.floor.fill_(0.0)
    quantiles = forecast(model, *tensors)
    assert quantiles.min() == 0
    assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_forecast_follows_the_unit_of_the_series():
    panel = lively_panel(covariates=False)
    other = replace(panel, values=1000 * panel.values)
    model = network()
    origins = [150, 250, 450]
    np.testing.assert_allclose(
        forecast(model, *inputs(other, origins)),
        1000 * forecast(model, *inputs(panel, origins)),
        rtol=1e-4,
    )


def test_days_before_the_history_are_the_same_as_missing_days():
    panel = lively_panel(days=200)
    features, future = inputs(panel, [199], days=175)
    features[:, :115] = torch.nan
    features[:, 115:121, ft.FEATURES.index("lag_7")] = torch.nan  # they reach back before it
    np.testing.assert_allclose(
        forecast(network(), features, future),
        forecast(network(), features[:, 115:], future),
        rtol=1e-5,
    )


@pytest.mark.parametrize("days", [60, 61, 100, 174, 175])
def test_any_context_length_is_served(days):
    quantiles = forecast(network(), *inputs(lively_panel(), [250], days=days))
    assert np.isfinite(quantiles).all()


def test_series_values_are_the_same_in_torch_and_numpy():
    panel = lively_panel(level=1e6)
    features, _ = inputs(panel, [100, 150, 250], days=60)
    values = series_values(features).numpy()
    np.testing.assert_allclose(values, window_values.values_of(features.numpy()), rtol=1e-12)
    rows = np.array([100, 150, 250])[:, None] + np.arange(-66, 1)
    expected = panel.values[rows]
    np.testing.assert_allclose(values[:, :-1], expected[:, :-1])
    np.testing.assert_allclose(values[:, -1], expected[:, -1], rtol=1e-9)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cell": "rnn"}, "cell: expected 'lstm' or 'gru', got 'rnn'"),
        ({"max_context": 181}, "max_context <= 180 days, got 60 and 181"),
        ({"encoder_days": 61}, r"encoder_days: expected 7 to context_length \(60\) days, got 61"),
        ({"quantiles": (0.1, 0.9)}, "with 0.5 among them"),
    ],
)
def test_impossible_shape_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**setting)
