"""Series that have just begun: forecast from their first day on, wider the less is known."""

import numpy as np
import pytest

from lib.data import take_series
from lib.features import SeriesPool, learn_pool
from lib.inference.artifact import COLD_START, PRETRAINED_ARTIFACT
from lib.inference.cold_start import (
    KNOWN_DAYS,
    ColdStart,
    count_known,
    usual_widths,
)
from lib.inference.served_model import ServedModel, forecast_panel
from lib.inference.young_notes import describe_young
from lib.training.export import save_artifact
from tests.panels import TINY_MODEL, begun, lively_panel, panel_of


@pytest.fixture(scope="module")
def tiny():
    return ServedModel.load(TINY_MODEL)


@pytest.fixture(scope="module")
def trained(small_training, tmp_path_factory):
    """An artifact with a pool of its own panel."""
    panel, split, data, fit = small_training
    folder = tmp_path_factory.mktemp("cold")
    return save_artifact(folder, fit, data, panel, split), panel


@pytest.mark.parametrize("known", [1, 2, 6, 7, 14, 30, 59])
@pytest.mark.parametrize("model", ["tiny", "trained"])
def test_every_length_has_rising_quantiles_above_the_floor(request, model, known):
    served = request.getfixturevalue(model)
    served = served[0] if isinstance(served, tuple) else served
    panel = lively_panel()
    origins = panel.offsets[1:] - 40
    quantiles = forecast_panel(served, begun(panel, origins, known), origins)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles[..., -1] > quantiles[..., 0]).all()
    assert (quantiles >= 0).all()


def test_series_with_a_past_is_forecast_as_before(tiny):
    panel = lively_panel()
    origins = panel.offsets[1:] - 40
    both = np.append(origins, panel.offsets[:-1] + 20)  # the latter are young
    np.testing.assert_allclose(
        forecast_panel(tiny, panel, both)[: len(origins)],
        forecast_panel(tiny, panel, origins),
        rtol=1e-6,
    )


def test_artifact_carries_what_its_series_have_in_common(trained):
    served, _ = trained
    assert COLD_START in served.contract.sha256
    pool, widths = served.cold_start.pool, served.cold_start.widths
    assert pool.shape.shape[1] > 100
    assert widths.shape == (len(KNOWN_DAYS), len(served.contract.quantiles))
    middle = served.contract.quantiles.index(0.5)
    assert (widths[:, middle] == 1).all()
    assert (np.diff(widths[:, : middle + 1], axis=1)[:, :-1] <= 0).all()


def test_cold_start_is_read_as_it_was_written(tmp_path):
    panel = lively_panel()
    pool = learn_pool(panel, panel.dates.max())
    assert pool is not None
    cold_start = ColdStart(pool, usual_widths((0.1, 0.5, 0.9)))
    cold_start.write(tmp_path / COLD_START)
    again = ColdStart.read(tmp_path / COLD_START)
    np.testing.assert_allclose(again.pool.shape, cold_start.pool.shape, atol=1e-6)
    assert (again.pool.first, again.pool.groups) == (cold_start.pool.first, cold_start.pool.groups)
    assert again.pool.noise == cold_start.pool.noise
    np.testing.assert_array_equal(again.widths, cold_start.widths)


def test_model_without_others_is_wider_the_less_is_known(tiny):
    panel = take_series(lively_panel(), np.array([0]))
    origin = panel.offsets[1:] - 40
    widths = []
    for known in (1, 14, 59):
        quantiles = forecast_panel(tiny, begun(panel, origin, known), origin)
        widths.append(float((quantiles[..., -1] - quantiles[..., 0]).mean()))
    assert widths[0] > widths[1] > widths[2]


def test_widths_lie_between_those_of_the_known_days():
    levels = (0.1, 0.5, 0.9)
    widths = np.ones((len(KNOWN_DAYS), 3))
    widths[:, 0] = widths[:, 2] = [4.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    cold_start = ColdStart(SeriesPool.flat(), widths)
    panel = lively_panel()
    origin = panel.offsets[1:2] - 40
    quantiles = np.broadcast_to(np.array([9.0, 10.0, 12.0]), (1, 3, 3))
    for known, low in ((1, 6.0), (3, 8.0), (14, 9.0)):
        young = begun(panel, origin, known)
        assert count_known(young, origin).tolist() == [known]
        wide = cold_start.widen(young, origin, quantiles, levels.index(0.5))
        assert wide[0, 0, 0] == pytest.approx(low)
        assert wide[0, 0, 1] == 10
    wide = cold_start.widen(begun(panel, origin, 2), origin, quantiles, 1)
    assert 6 < wide[0, 0, 0] < 8


def test_widths_of_other_levels_are_interpolated():
    assert usual_widths((0.1, 0.5, 0.9)).shape == (len(KNOWN_DAYS), 3)
    assert usual_widths((0.2, 0.5))[0, 0] == pytest.approx(1.6)


def test_what_a_forecast_rests_on_is_said():
    assert describe_young(1, 1, borrowed=False) == (
        "1 day known: the level from it, week and year from what the model has learned elsewhere"
    )
    assert describe_young(14, 16, borrowed=True) == (
        "14 days known: the level and part of the week from them, the rest of it and the year from "
        "the series that were learned"
    )
    assert describe_young(10, 60, borrowed=True) == ""
    assert describe_young(0, 20, borrowed=True) == ""


@pytest.mark.parametrize("noise", [2.0, 15.0])
def test_lone_series_has_wider_intervals_the_fewer_days_are_known(noise):
    rng = np.random.default_rng(5)
    served = ServedModel.load(PRETRAINED_ARTIFACT)
    panel = panel_of(*(100 + rng.normal(0, noise, (10, 130))))
    origins = panel.offsets[1:] - 40
    widths = []
    for known in (1, 7, 14, 30, 90):
        quantiles = forecast_panel(served, begun(panel, origins, known), origins)
        widths.append(float(np.median(quantiles[..., -2] - quantiles[..., 1])))
    assert widths == sorted(widths, reverse=True)
