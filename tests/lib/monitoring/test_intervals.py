"""The bounds hold their level: a healthy model exceeds one of 97.5 % in at most 4 % of windows."""

import math

import numpy as np
import pytest

from benchmarks.monitoring.bench import measure
from lib.monitoring.intervals import ratio_interval


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
@pytest.mark.parametrize(
    ("series", "week", "missing", "common"), [(4, 0.4, 0.2, 0.3), (16, 0, 0, 0)]
)
def test_bounds_are_exceeded_by_few_healthy_windows(correlation, series, week, missing, common):
    cell = measure(correlation, series, week, missing, common, windows=400)
    allowed = 0.04 + 2 * math.sqrt(0.04 * 0.96 / 400)  # of 400 windows two deviations more
    assert cell.wape_wrong <= allowed
    assert cell.coverage_wrong <= allowed


def test_interval_of_a_ratio_is_unknown_without_two_days():
    one = np.ones(1)
    assert np.isnan(ratio_interval(one, one, np.zeros(1))).all()
    assert np.isnan(ratio_interval(np.zeros(9), np.zeros(9), np.arange(9))).all()


def test_interval_of_days_without_spread_is_a_point():
    assert ratio_interval(np.full(21, 2.0), np.full(21, 10.0), np.arange(21)) == (0.2, 0.2)
