"""Widths by the number of known days, measured by hiding days."""

import numpy as np
import pytest

from lib.calibration.cold_start import _widths_of
from lib.data import DataSplit, SynthesisSpec, synthesize
from lib.forecasting.fitting import take_pretrained
from lib.inference import KNOWN_DAYS, forecast_panel
from tests.panels import begun

LEVELS = (0.1, 0.5, 0.9)


def test_widths_give_their_coverage():
    rng = np.random.default_rng(0)
    actual = rng.standard_normal((2000, 7))
    quantiles = np.broadcast_to([-0.5, 0.0, 2.0], (2000, 7, 3))
    widths = _widths_of(actual, quantiles, LEVELS, np.ones(3))
    assert widths[0] * 0.5 == pytest.approx(1.28, abs=0.06)
    assert widths[2] * 2.0 == pytest.approx(1.28, abs=0.06)
    assert widths[1] == 1


def test_few_windows_keep_the_usual_widths():
    actual = np.full((1, 7), 100.0)
    quantiles = np.broadcast_to([-1.0, 0.0, 1.0], (1, 7, 3))
    widths = _widths_of(actual, quantiles, LEVELS, np.array([2.0, 1.0, 2.0]))
    assert widths[0] < 2.5
    assert widths[2] < 8


def test_series_that_begin_are_covered_as_promised(tmp_path):
    """Six shops are learned; the intervals of six others, cut to their last days, hold."""
    panel, _ = synthesize(SynthesisSpec(n_series=12, n_days=500), seed=5)
    last = panel.dates.min() + 430
    served = take_pretrained(
        panel, tmp_path, horizon=14, split=DataSplit(last, last, panel.dates.max())
    )
    assert served.cold_start.pool.first + served.cold_start.pool.shape.shape[1] - 1 == last
    origins = panel.offsets[:-1] + 430 + 20
    for known in KNOWN_DAYS:
        quantiles = forecast_panel(served, begun(panel, origins, known), origins)
        actual = panel.values[origins[:, None] + np.arange(1, 15)]
        inside = (actual >= quantiles[..., 1]) & (actual <= quantiles[..., -2])
        assert 0.5 < inside[np.isfinite(actual)].mean() <= 1
