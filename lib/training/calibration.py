"""Calibrate the quantiles on validation days, which no gradient has seen."""

from __future__ import annotations

import numpy as np
import torch

from lib.calibration import PreparedData, spread_by_series, spread_of, weeks_of
from lib.calibration.widths import BATCH_SIZE
from lib.features import Windows
from lib.models import TINY, LSTMForecaster
from lib.training.data import batch_of
from lib.training.loop import Fit


def calibrate(fit: Fit, data: PreparedData) -> Fit:
    """Widen or narrow the quantiles so that each has its nominal coverage on the validation span.

    In the manner of CQR (Romano et al. 2019), multiplicative: per block of the horizon, the offset
    of each level from the median is multiplied by the factor under which validation targets fall
    below it as often as its level p says, shrunk towards what is usual (`spread_of`). Factors rise
    away from the median, so quantiles stay ordered.

    Then each of several series gets one factor for all its widths, or the noisy ones would be too
    narrow and the quiet ones too wide. There is no finite-sample guarantee: days of a series depend
    on each other, and the same span has chosen the network.

    Args:
        fit: its network is changed in place.
        data: that it was trained on.

    Returns:
        The same fit.
    """
    model = fit.model
    residuals, offsets = _predict_residuals(model, data.validation)
    levels, weeks = model.config.quantiles, weeks_of(data.validation)
    spread = spread_of(residuals, offsets, levels, weeks, fitted=True)
    model.spread.copy_(torch.from_numpy(spread))
    calibrated = offsets * spread
    fit.series_spread = spread_by_series(data.validation, residuals, calibrated, levels)
    return fit


def factors_by_block(model: LSTMForecaster, windows: Windows) -> np.ndarray:
    """Return the factors, not shrunk, that calibrate the widths of a network. (horizon, levels)."""
    residuals, offsets = _predict_residuals(model, windows)
    return spread_of(residuals, offsets, model.config.quantiles, weeks_of(windows), prior_weeks=0)


def _predict_residuals(model: LSTMForecaster, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return what targets and quantiles are above the median, in scales.

    Returns:
        Residuals (n, horizon), NaN where the target is missing or the window has no scale, and
        offsets (n, horizon, quantiles).
    """
    residuals, all_offsets = [], []
    index = np.arange(len(windows.origins))
    for part in np.array_split(index, max(1, -(-len(index) // BATCH_SIZE))):
        context, future, targets = batch_of(windows, part, model.config.max_context)
        with torch.no_grad():
            median, offsets, scale = model.predict_distribution(context, future)
        unit = torch.where(scale > 10 * TINY, scale, torch.nan)
        residuals.append(((targets - median) / unit[:, None]).numpy())
        all_offsets.append(offsets.numpy())
    return np.concatenate(residuals), np.concatenate(all_offsets)
