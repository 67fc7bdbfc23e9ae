"""Factors under which quantiles have their nominal coverage, from forecasts whose truth is known.

In the manner of CQR (Romano et al. 2019), multiplicative. There is no finite-sample guarantee: days
of a series depend on each other.
"""

from __future__ import annotations

import numpy as np

from lib.features import Windows
from lib.inference import ServedModel

BLOCKS = (1, 7, 14, 28)  # last days of the blocks of the horizon
BATCH_SIZE = 512  # windows of one pass, which bounds memory
MIN_FACTOR, MAX_FACTOR = 0.3, 4.0
MIN_WEEKS = 5  # of targets, below which nothing is calibrated
PRIOR_WEEKS = 60  # of targets that the usual factor counts for
USUAL_OF_FIT = 1.05  # a network is too sure of days that it has not learned
MIN_TARGETS = 5  # independent ones of a series, below which it has no factor of its own
PRIOR_TARGETS = 60  # how many targets of a series the factor 1 counts for
CENTRAL = (0.1, 0.9)  # levels of the interval that a series is calibrated by
NO_WIDTH = 2e-7  # in the unit of the series: the window has no scale


def residuals_of(served: ServedModel, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return what targets and quantiles of a served model are above its median.

    Returns:
        Residuals (n, horizon), NaN where the target is missing or the window has no scale, and
        offsets (n, horizon, levels), in the unit of the series.
    """
    median = served.contract.quantiles.index(0.5)
    residuals, offsets = [], []
    index = np.arange(len(windows.origins))
    for part in np.array_split(index, max(1, -(-len(index) // BATCH_SIZE))):
        context = windows.context(part, served.contract.max_context)
        quantiles = served.predict(context, windows.known_future(part))
        middle = quantiles[..., median]
        offset = quantiles - middle[..., None]
        wide = (offset[..., -1] - offset[..., 0] > NO_WIDTH).all(axis=1)
        # an offset may be lost in the rounding of a level far larger than what the series moves by
        usable = wide[:, None] & (np.delete(offset, median, axis=-1) != 0).all(axis=-1)
        residuals.append(np.where(usable, windows.targets(part) - middle, np.nan))
        offsets.append(offset)
    return np.concatenate(residuals), np.concatenate(offsets)


def weeks_of(windows: Windows) -> float:
    """Return how many weeks the targets of windows span.

    Days of one week, and series on the same days, err together: a week counts for one independent
    target, a rule of thumb.
    """
    days = windows.panel.dates[windows.origins]
    return (int((days.max() - days.min()).astype(np.int64)) + windows.horizon) / 7


def spread_of(
    residuals: np.ndarray,
    offsets: np.ndarray,
    levels: tuple[float, ...],
    weeks: float,
    *,
    fitted: bool = False,
    prior_weeks: float = PRIOR_WEEKS,
) -> np.ndarray:
    """Return the factors of the levels on each day of the horizon, the same within a block.

    They are shrunk towards what is usual, since some months of one season say little about the
    widths of the next.

    Args:
        residuals: (n, horizon) of the targets from the median, NaN where missing.
        offsets: (n, horizon, levels) of the quantiles from the median, in the same units.
        levels: of the quantiles.
        weeks: of the targets, as `weeks_of` counts them.
        fitted: whether the network was trained, and chosen by these targets. Then the usual
            factor is above 1, and of n independent targets the quantile at level p (n + 1) / n is
            taken, as conformal prediction has it for few of them.
        prior_weeks: that the usual factor counts for.

    Returns:
        (horizon, levels).
    """
    horizon = residuals.shape[1]
    usual = USUAL_OF_FIT if fitted else 1.0
    margin = (weeks + 1) / weeks if fitted and weeks else 1.0
    spread = np.full((horizon, len(levels)), usual)
    spread[:, levels.index(0.5)] = 1.0
    if weeks < MIN_WEEKS:
        return spread
    weight = weeks / (weeks + prior_weeks)
    start = 0
    for end in (*[block for block in BLOCKS if block < horizon], horizon):
        block = residuals[:, start:end], offsets[:, start:end]
        factors = weight * _compute_factors(*block, levels, margin) + (1 - weight) * usual
        spread[start:end] = _rising(factors, levels.index(0.5))
        start = end
    return spread


def spread_by_series(
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


def _compute_factors(
    residuals: np.ndarray, offsets: np.ndarray, levels: tuple[float, ...], margin: float
) -> np.ndarray:
    """Return the factor of each level for one block of the horizon.

    Args:
        residuals: (n, days), in scales, NaN where missing.
        offsets: (n, days, levels), in scales.
        levels: of the quantiles.
        margin: on the share of targets within each level.

    Returns:
        (levels,), 1 at the median and where no target is known.
    """
    observed = np.isfinite(residuals)
    factors = np.ones(len(levels))
    if not observed.any():
        return factors
    for i, level in enumerate(levels):
        if level == 0.5:
            continue
        ratio = residuals[observed] / offsets[..., i][observed]
        share = max(level, 1 - level) * margin
        factors[i] = np.clip(np.quantile(ratio, min(share, 1.0)), MIN_FACTOR, MAX_FACTOR)
    return factors


def _rising(factors: np.ndarray, median: int) -> np.ndarray:
    """Return factors that rise away from the median, so that quantiles stay in order."""
    below = np.maximum.accumulate(factors[:median][::-1])[::-1]
    above = np.maximum.accumulate(factors[median + 1 :])
    return np.concatenate([below, [1.0], above])
