"""Calibrate the quantiles on validation days, which no gradient has seen."""

from __future__ import annotations

import numpy as np
import torch

from lib.features import Windows
from lib.models import TINY, LSTMForecaster
from lib.training.data import TrainingData, batch_of
from lib.training.loop import Fit

BLOCKS = (1, 7, 14, 28)  # last days of the blocks of the horizon
BATCH_SIZE = 512  # windows of one pass, which bounds memory
MIN_FACTOR, MAX_FACTOR = 0.3, 4.0
MIN_TARGETS = 5  # independent ones, below which nothing is calibrated
PRIOR_TARGETS = 60  # how many targets the factor 1 counts for
CENTRAL = (0.1, 0.9)  # levels of the interval that a series is calibrated by


def calibrate(fit: Fit, data: TrainingData) -> Fit:
    """Widen or narrow the quantiles so that each has its nominal coverage on the validation span.

    In the manner of CQR (Romano et al. 2019), multiplicative: per block of the horizon, the offset
    of each level from the median is multiplied by the factor under which validation targets fall
    below it as often as its level p says. Of n independent targets that is the quantile at level
    p (n + 1) / n, as conformal prediction has it for few of them. Factors rise away from the
    median, so quantiles stay ordered, and are shrunk towards 1 where targets are few.

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
    spread = _factors(residuals, offsets, model.config.quantiles)
    model.spread.copy_(torch.from_numpy(spread))
    calibrated = offsets * spread
    fit.series_spread = _spread_by_series(
        data.validation, residuals, calibrated, model.config.quantiles
    )
    return fit


def factors_by_block(model: LSTMForecaster, windows: Windows) -> np.ndarray:
    """Return the factors that calibrate the widths of a network. (horizon, levels)."""
    return _factors(*_predict_residuals(model, windows), model.config.quantiles)


def _factors(residuals: np.ndarray, offsets: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return the factors of the levels on each day of the horizon, the same within a block."""
    horizon = residuals.shape[1]
    spread = np.ones((horizon, len(levels)))
    start = 0
    for end in (*[block for block in BLOCKS if block < horizon], horizon):
        spread[start:end] = _compute_factors(residuals[:, start:end], offsets[:, start:end], levels)
        start = end
    return spread


def _spread_by_series(
    windows: Windows, residuals: np.ndarray, offsets: np.ndarray, levels: tuple[float, ...]
) -> dict[str, float]:
    """Return the factor under which the central interval of each series has its nominal coverage.

    It is shrunk towards 1, the factor of the pool, where targets are few.

    Args:
        windows: of the validation.
        residuals: (n, horizon), in scales, NaN where missing.
        offsets: (n, horizon, levels), in scales, calibrated on all series.
        levels: of the quantiles.

    Returns:
        Factors by name of the series, none for a single series.
    """
    series = windows.panel.series_of(windows.origins)
    numbers = np.unique(series)
    if len(numbers) < 2 or not set(CENTRAL) <= set(levels):
        return {}
    low, high = (offsets[..., levels.index(level)] for level in CENTRAL)
    score = residuals / np.where(residuals < 0, low, high)  # 1 at the bounds of the interval
    nominal = CENTRAL[1] - CENTRAL[0]
    found = {}
    for number in numbers:
        scores = score[series == number]
        scores = scores[np.isfinite(scores)]
        independent = len(scores) / residuals.shape[1] / 2
        if independent < MIN_TARGETS:
            continue
        weight = independent / (independent + PRIOR_TARGETS)
        factor = np.clip(np.quantile(scores, nominal), MIN_FACTOR, MAX_FACTOR) ** weight
        found[windows.panel.ids[number]] = float(factor)
    return found


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


def _compute_factors(
    residuals: np.ndarray, offsets: np.ndarray, levels: tuple[float, ...]
) -> np.ndarray:
    """Return the factor of each level for one block of the horizon.

    Args:
        residuals: (n, days), in scales, NaN where missing.
        offsets: (n, days, levels), in scales.
        levels: of the quantiles.

    Returns:
        (levels,), 1 at the median.
    """
    median = levels.index(0.5)
    observed = np.isfinite(residuals)
    independent = observed.sum() / residuals.shape[1] / 2  # windows overlap: half, a rule of thumb
    factors = np.ones(len(levels))
    if independent < MIN_TARGETS:
        return factors
    weight = independent / (independent + PRIOR_TARGETS)
    for i, level in enumerate(levels):
        if i == median:
            continue
        ratio = residuals[observed] / offsets[..., i][observed]
        share = (1 - level if i < median else level) * (independent + 1) / independent
        factor = np.quantile(ratio, min(share, 1.0))
        factors[i] = np.clip(weight * factor + (1 - weight), MIN_FACTOR, MAX_FACTOR)
    below = np.maximum.accumulate(factors[:median][::-1])[::-1]
    above = np.maximum.accumulate(factors[median + 1 :])
    return np.concatenate([below, [1.0], above])
