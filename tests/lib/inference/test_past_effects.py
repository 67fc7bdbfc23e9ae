"""Forecasts that past covariates lead, from the file of an artifact."""

from dataclasses import replace

import numpy as np
import pytest

from lib.explanation.explainer import Explainer
from lib.features.covariate_range import describe_missing_past
from lib.forecasting.fitting import take_pretrained
from lib.inference.artifact import PAST_EFFECTS, Contract
from lib.inference.served_model import ServedModel, forecast_panel
from tests.lib.features.test_past_effects import DAYS, HORIZON, LEAD, led_panel
from tests.lib.inference.test_effects import until

LEARNED = 400
ORIGINS = np.arange(LEARNED, DAYS - HORIZON, 5)


@pytest.fixture(scope="module", params=[1.0, -1.0])
def led(request, tmp_path_factory):
    """A panel whose effects multiply, or add, and its model."""
    panel = led_panel(sign=request.param)
    folder = tmp_path_factory.mktemp("past")
    return panel, take_pretrained(until(panel, LEARNED), folder, horizon=HORIZON)


def without(model):
    """The same model, from a folder that says nothing of past covariates."""
    contract = model.contract
    sha256 = {name: text for name, text in contract.sha256.items() if name != PAST_EFFECTS}
    return model.replace(contract=replace(contract, sha256=sha256), past=None)


def test_forecasts_are_better_on_the_days_that_follow(led):
    panel, model = led
    truth = panel.values[ORIGINS[:, None] + np.arange(1, HORIZON + 1)]
    errors = [
        np.abs(truth - forecast_panel(each, panel, ORIGINS)[..., 3]).mean(axis=0)
        for each in (model, without(model))
    ]
    assert errors[0][:LEAD].mean() < 0.8 * errors[1][:LEAD].mean()
    assert errors[0][LEAD:].mean() < 1.02 * errors[1][LEAD:].mean()


def test_artifact_lists_and_reads_them(led):
    panel, model = led
    assert PAST_EFFECTS in Contract.read(model.folder).files
    again = ServedModel.load(model.folder)
    assert again.past is not None
    assert "visits" in again.past.effects.names
    np.testing.assert_array_equal(
        forecast_panel(again, panel, ORIGINS), forecast_panel(model, panel, ORIGINS)
    )


def test_what_follows_an_origin_moves_nothing_and_what_precedes_it_does(led):
    panel, model = led
    origin = np.array([LEARNED + 20])
    days, visits = np.arange(DAYS), panel.covariates[0]

    def changed(where):
        other = replace(visits, values=np.where(where, 1.3 * visits.values, visits.values))
        return replace(panel, covariates=(other, *panel.covariates[1:]))

    before = forecast_panel(model, panel, origin)
    late, last = changed(days > origin[0]), changed(days == origin[0])
    np.testing.assert_array_equal(before, forecast_panel(model, late, origin))
    moved = forecast_panel(model, last, origin) - before
    assert np.abs(moved[:, LEAD - 1]).min() > 10 * np.abs(moved[:, LEAD]).max()
    # The planned future is withheld: what is known of the past is not.
    hidden = forecast_panel(model, panel, origin, known_future=False)
    np.testing.assert_array_equal(before, hidden)


def test_forecast_without_the_last_days_is_the_plain_one_and_no_narrower(led):
    panel, model = led
    origin = np.array([LEARNED + 20])
    gone = np.arange(DAYS) > origin[0] - 60
    hidden = replace(
        panel,
        covariates=tuple(
            replace(c, values=np.where(gone, np.nan, c.values)) for c in panel.covariates
        ),
    )
    found = forecast_panel(model, hidden, origin)
    plain = forecast_panel(without(model), hidden, origin)
    np.testing.assert_allclose(found[..., 3], plain[..., 3])
    assert (found[..., 6] - found[..., 0] >= plain[..., 6] - plain[..., 0] - 1e-9).all()
    assert (found[:, 0, 6] - found[:, 0, 0] > 1.02 * (plain[:, 0, 6] - plain[:, 0, 0])).all()
    assert model.past is not None
    sentences = describe_missing_past(model.past.effects, hidden, origin)
    assert sentences[0].startswith("visits has no value in the last 14 days: ")
    assert not describe_missing_past(model.past.effects, panel, origin)
    none = replace(panel, covariates=())
    np.testing.assert_allclose(forecast_panel(model, none, origin), found)


@pytest.mark.parametrize("day", [1, 0])
def test_explanation_names_them_and_makes_the_forecast(led, day):
    panel, model = led
    origin = LEARNED + 21
    explained = Explainer(model, horizon_day=day).explain_day(panel, origin)
    forecast = forecast_panel(model, panel, np.array([origin]))[0, :, 3]
    expected = forecast.mean() if day == 0 else forecast[day - 1]
    assert explained.output_value == pytest.approx(expected, rel=1e-5)
    assert "visits" in explained.by_feature
    if day:
        assert explained.covariates["visits"] == panel.covariates[0].values[origin]
        assert abs(explained.by_feature["visits"]) > 0
    total = explained.base_value + sum(explained.by_feature.values())
    assert total == pytest.approx(explained.output_value, rel=1e-4)
