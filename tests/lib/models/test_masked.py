"""Operations on tensors with missing values, against NumPy."""

import math

import numpy as np
import torch

from lib.models.masked import (
    is_observed,
    mean_observed,
    mean_where,
    median_where,
    signed_log,
    subtract_mean,
    take_last_days,
    zero_missing,
)


def test_median_of_observed_entries_equals_numpys():
    x = np.random.default_rng(0).normal(size=(20, 9))
    x[np.random.default_rng(1).random(x.shape) < 0.4] = np.nan
    x[0] = np.nan
    tensor = torch.from_numpy(x)
    median = median_where(tensor, is_observed(tensor)).numpy()
    np.testing.assert_allclose(median[1:], np.nanmedian(x[1:], axis=-1))
    assert np.isnan(median[0])


def test_means_skip_missing_entries():
    x = torch.tensor([[1.0, math.nan, -3.0], [math.nan] * 3], dtype=torch.float64)
    assert mean_observed(x).tolist() == [-1.0, 0.0]
    assert mean_where(zero_missing(x), is_observed(x)).tolist() == [-1.0, 0.0]
    assert subtract_mean(torch.tensor([1.0, 3.0])).tolist() == [-1.0, 1.0]


def test_last_days_of_a_short_series_begin_with_missing_ones():
    x = torch.tensor([[1.0, math.nan, -3.0]], dtype=torch.float64)
    assert take_last_days(x, 5)[0].nan_to_num(9.0).tolist() == [9.0, 9.0, 1.0, 9.0, -3.0]
    assert take_last_days(x, 2)[0].nan_to_num(9.0).tolist() == [9.0, -3.0]


def test_signed_log_is_the_inverse_hyperbolic_sine_and_missing_is_zero():
    x = np.array([0.0, 1e-6, -2.0, 1e9, -1e12])
    np.testing.assert_allclose(signed_log(torch.tensor(x)).numpy(), np.arcsinh(x), rtol=1e-9)
    assert signed_log(torch.tensor([math.nan])).item() == 0.0
