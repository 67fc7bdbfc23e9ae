"""Factors of the widths: what the targets say, as far as their weeks are enough."""

import numpy as np
import pytest

from lib.calibration.widths import MIN_WEEKS, USUAL_OF_FIT, spread_of

LEVELS = (0.1, 0.5, 0.9)


def twice_as_wide(days=28, windows=400):
    """Residuals of a standard normal, offsets of one half as wide."""
    residuals = np.random.default_rng(0).standard_normal((windows, days))
    offsets = np.broadcast_to(np.array([-0.6408, 0.0, 0.6408]), (windows, days, 3))
    return residuals, offsets


def test_many_weeks_find_the_factor_and_few_are_shrunk_to_the_usual_one():
    long, short = (spread_of(*twice_as_wide(), LEVELS, weeks) for weeks in (5000, 12))
    np.testing.assert_allclose(long[:, [0, 2]], 2.0, atol=0.1)
    assert (short[:, [0, 2]] < 1.3).all()
    assert (short[:, [0, 2]] > 1.1).all()
    assert (long[:, 1] == 1).all()


def test_too_few_weeks_leave_the_usual_factor():
    residuals, offsets = twice_as_wide()
    assert (spread_of(residuals, offsets, LEVELS, MIN_WEEKS - 1) == 1).all()
    fitted = spread_of(residuals, offsets, LEVELS, MIN_WEEKS - 1, fitted=True)
    np.testing.assert_array_equal(fitted[0], [USUAL_OF_FIT, 1.0, USUAL_OF_FIT])


def test_network_chosen_by_the_same_days_is_wider():
    residuals, offsets = twice_as_wide()
    plain, fitted = (spread_of(residuals, offsets, LEVELS, 12, fitted=f) for f in (False, True))
    assert (fitted[:, [0, 2]] > plain[:, [0, 2]]).all()


def test_one_odd_day_does_not_widen_a_month():
    residuals, offsets = twice_as_wide(windows=60)
    residuals /= 2
    odd = residuals.copy()
    origins = np.arange(28)
    odd[origins, 27 - origins] = -20.0  # the same day in each window that holds it
    before, after = (spread_of(r, offsets, LEVELS, 12) for r in (residuals, odd))
    assert (after[:, 0] / before[:, 0]).max() == pytest.approx(1, abs=0.1)
