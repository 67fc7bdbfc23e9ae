"""Change the future, and nothing in the past moves."""

import numpy as np
import pytest
import torch

from lib.evaluation.backtest import origin_rows
from lib.evaluation.metrics import seasonal_scale
from lib.features import engineering, windows
from lib.inference.served_model import forecast_panel
from lib.training import calibration, loop
from lib.training.data import batch_of, prepare
from tests.networks import MODEL, TRAINING, weights_hash
from tests.panels import changed_after, lively_panel


def test_features_of_a_day_do_not_know_the_days_after(panel):
    day = panel.dates[200]
    past = panel.dates <= day
    before, after = (
        engineering.compute_features(panel),
        engineering.compute_features(changed_after(panel, day)),
    )
    np.testing.assert_array_equal(before[past], after[past])
    assert not np.array_equal(before[~past], after[~past], equal_nan=True)


def test_known_future_holds_planned_covariates_and_no_values():
    panel = lively_panel(days=600)
    origins = np.array([450, 500])
    other = changed_after(panel, panel.dates[450])
    planned = [
        engineering.FUTURE.index("fator_externo"),
        engineering.FUTURE.index("evento_especial"),
    ]
    before, after = (windows.known_future(p, origins[:1], 28) for p in (panel, other))
    rest = np.delete(np.arange(len(engineering.FUTURE)), planned)
    np.testing.assert_array_equal(before[..., rest], after[..., rest])
    hidden = [
        windows.known_future(p, origins[:1], 28, with_covariates=False) for p in (panel, other)
    ]
    np.testing.assert_array_equal(hidden[0], hidden[1])
    assert np.isnan(hidden[0][..., planned]).all()


def test_training_does_not_know_the_days_after_validation(small_training):
    panel, split, data, fit = small_training
    other = prepare(changed_after(panel, split.validation_end), split, MODEL)
    again = calibration.calibrate(loop.fit(other, MODEL, TRAINING), other)
    assert (other.factor_mean, other.factor_std, other.nonnegative) == (
        data.factor_mean,
        data.factor_std,
        data.nonnegative,
    )
    assert weights_hash(again.model) == weights_hash(fit.model)


def test_scalers_do_not_know_the_validation_span(small_training):
    panel, split, data, _ = small_training
    other = prepare(changed_after(panel, split.train_end), split, MODEL)
    assert (other.factor_mean, other.factor_std) == (data.factor_mean, data.factor_std)
    assert not np.isin(other.train.origins, other.validation.origins).any()
    last = panel.dates[data.train.origins] + MODEL.horizon
    assert last.max() <= split.train_end
    assert (panel.dates[data.validation.origins] + 1).min() > split.train_end


@pytest.mark.parametrize("context", [60, None])
def test_forecast_does_not_know_what_came_after_its_cutoff(panel, tiny_model, context):
    end = np.array([200])
    other = changed_after(panel, panel.dates[200])
    settings = {"context": context, "known_future": False}
    np.testing.assert_array_equal(
        forecast_panel(tiny_model, panel, end, **settings),
        forecast_panel(tiny_model, other, end, **settings),
    )


def test_mase_scale_does_not_know_the_backtest(panel):
    origins = origin_rows(panel, horizon=7, cutoffs=3, step=7)
    first = panel.dates[origins].min()
    np.testing.assert_array_equal(
        seasonal_scale(panel, first), seasonal_scale(changed_after(panel, first), first)
    )


def test_graph_sees_one_window_at_a_time(small_training):
    _, _, data, fit = small_training
    context, future, _ = batch_of(data.validation, np.arange(4), MODEL.max_context)
    with torch.no_grad():
        together = fit.model(context, future)
        alone = fit.model(context[2:3], future[2:3])
    torch.testing.assert_close(together[2:3], alone, rtol=1e-5, atol=1e-5)
