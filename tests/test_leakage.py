"""Change the future, and nothing in the past moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import calibration, fitting, training
from lib import features as ft
from lib.backtest import cutoff_rows, seasonal_scale
from lib.forecaster import Forecaster, forecast_panel
from tests.panels import MODEL, TINY_MODEL, TRAINING, lively_panel, small_training, weights_hash


def changed_after(panel, day):
    """The panel with every value, factor and event after a day made another."""
    late = panel.dates > day
    return replace(
        panel,
        values=np.where(late, 1e4 - 3 * panel.values, panel.values),
        factor=np.where(late, -panel.factor, panel.factor),
        event=np.where(late, 1 - panel.event, panel.event),
    )


def test_features_of_a_day_do_not_know_the_days_after():
    panel = lively_panel()
    day = panel.dates[200]
    past = panel.dates <= day
    before, after = ft.compute(panel), ft.compute(changed_after(panel, day))
    np.testing.assert_array_equal(before[past], after[past])
    assert not np.array_equal(before[~past], after[~past], equal_nan=True)


def test_known_future_holds_planned_covariates_and_no_values():
    panel = lively_panel(days=600)
    ends = np.array([450, 500])
    other = changed_after(panel, panel.dates[450])
    planned = [ft.FUTURE.index("fator_externo"), ft.FUTURE.index("evento_especial")]
    before, after = (ft.future_of(p, ends[:1], 28) for p in (panel, other))
    rest = np.delete(np.arange(len(ft.FUTURE)), planned)
    np.testing.assert_array_equal(before[..., rest], after[..., rest])
    hidden = [ft.future_of(p, ends[:1], 28, known=False) for p in (panel, other)]
    np.testing.assert_array_equal(hidden[0], hidden[1])
    assert np.isnan(hidden[0][..., planned]).all()


def test_training_does_not_know_the_days_after_validation():
    panel, spans, data, fit = small_training()
    other = training.prepare(changed_after(panel, spans.validation_end), spans, MODEL)
    again = calibration.calibrate(fitting.fit(other, MODEL, TRAINING), other)
    assert (other.factor_mean, other.factor_std, other.nonnegative) == (
        data.factor_mean,
        data.factor_std,
        data.nonnegative,
    )
    assert weights_hash(again.model) == weights_hash(fit.model)


def test_scalers_do_not_know_the_validation_span():
    panel, spans, data, _ = small_training()
    other = training.prepare(changed_after(panel, spans.train_end), spans, MODEL)
    assert (other.factor_mean, other.factor_std) == (data.factor_mean, data.factor_std)
    assert not np.isin(other.train.ends, other.validation.ends).any()
    last = panel.dates[data.train.ends] + MODEL.horizon
    assert last.max() <= spans.train_end
    assert (panel.dates[data.validation.ends] + 1).min() > spans.train_end


@pytest.mark.parametrize("context", [60, None])
def test_forecast_does_not_know_what_came_after_its_cutoff(context):
    forecaster = Forecaster.load(TINY_MODEL)
    panel = lively_panel()
    end = np.array([200])
    other = changed_after(panel, panel.dates[200])
    settings = {"context": context, "known_future": False}
    np.testing.assert_array_equal(
        forecast_panel(forecaster, panel, end, **settings),
        forecast_panel(forecaster, other, end, **settings),
    )


def test_mase_scale_does_not_know_the_backtest():
    panel = lively_panel()
    ends = cutoff_rows(panel, horizon=7, cutoffs=3, step=7)
    first = panel.dates[ends].min()
    np.testing.assert_array_equal(
        seasonal_scale(panel, first), seasonal_scale(changed_after(panel, first), first)
    )


def test_graph_sees_one_window_at_a_time():
    _, _, data, fit = small_training()
    context, future, _ = training.batch_of(data.validation, np.arange(4), MODEL.max_context)
    with torch.no_grad():
        together = fit.model(context, future)
        alone = fit.model(context[2:3], future[2:3])
    torch.testing.assert_close(together[2:3], alone, rtol=1e-5, atol=1e-5)
