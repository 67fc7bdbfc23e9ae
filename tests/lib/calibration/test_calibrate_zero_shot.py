"""The pretrained network, calibrated in memory: as the artifact that is written of it."""

from dataclasses import replace

import numpy as np
import pytest

from lib.calibration import calibrate_zero_shot
from lib.data import Covariate, DataSplit
from lib.inference import PRETRAINED_ARTIFACT, ServedModel, forecast_panel
from lib.training import save_zero_shot
from tests.panels import lively_panel


def panel_with_past(days, series):
    panel = lively_panel(days=days, series=series)
    visits = np.append(panel.values[2:], panel.values[:2])
    return replace(panel, covariates=(Covariate("visits", "past", "number", visits),))


@pytest.mark.parametrize(("days", "series"), [(20, 1), (90, 1), (400, 1), (400, 3)])
def test_it_forecasts_as_its_artifact_does(tmp_path, days, series):
    panel = panel_with_past(days, series)
    pretrained = ServedModel.load(PRETRAINED_ARTIFACT)
    model, _ = calibrate_zero_shot(pretrained, panel, horizon=14)
    last = panel.dates.max()
    written = save_zero_shot(tmp_path, panel, DataSplit(last, last, last), horizon=14)
    loaded = ServedModel.load(tmp_path)
    rows = panel.offsets[1:] - 1
    young = np.append(rows, panel.offsets[:-1] + 9)  # ten days of each series, too
    for other in (written, loaded):
        np.testing.assert_array_equal(
            forecast_panel(model, panel, young), forecast_panel(other, panel, young)
        )
        assert (model.ranks is None) == (other.ranks is None)
        if model.ranks and other.ranks:
            np.testing.assert_array_equal(model.ranks.codes, other.ranks.codes)
    assert pretrained.covariates is None  # the network itself is as it was
    assert pretrained.contract.is_uncalibrated
    assert not loaded.contract.is_uncalibrated
