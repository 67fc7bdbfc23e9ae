"""What moves a series from day to day: its deviations from level, week and neighbouring days.

Covariates and values share seasons and trends that have nothing to do with each other. Effects are
therefore learned from what is left of both when local means and the profile of the week are taken
off.
"""

from __future__ import annotations

import numpy as np

from lib.features.weekly_grid import WeeklyGrid, additive_unit

LEVEL_DAYS = 57  # over which a level is measured
NEAR_DAYS = 29  # over which deviations are centred
PROFILE_WEEKS = 9  # over which the profile of the week is measured
MANY_ZEROS = 0.3  # share of zeros from which a median would be zero
SMALLEST_PROFILE = 0.05  # of the level
CLIPPED = 0.01  # share of the deviations on either side that are pulled in


def deviations(values: np.ndarray, additive: bool, clipped: float = CLIPPED) -> np.ndarray:
    """Return the values of days in relation to what is usual around them.

    Args:
        values: (S, T) on a weekly grid, NaN where missing.
        additive: differences in units of the series plus one, where a ratio means nothing.
        clipped: share of the deviations on either side that are pulled in.

    Returns:
        (S, T), about 1, NaN where missing.
    """
    level = extend_levels(centred_mean(values, LEVEL_DAYS))
    if additive:
        rest = values - level
        rest = rest - np.nan_to_num(weekday_profile(rest))
        rest = rest - centred_mean(rest, NEAR_DAYS)
        found = 1 + rest / additive_unit(values)[:, None]
    else:
        rest = values / np.maximum(np.abs(level), 1e-12)
        profile = weekday_profile(rest)
        rest = rest / np.maximum(np.where(np.isnan(profile), 1.0, profile), SMALLEST_PROFILE)
        near = centred_mean(rest, NEAR_DAYS)
        found = rest / np.where(near > 0, near, np.nan)
    observed = found[np.isfinite(found)]
    if len(observed):
        found = np.clip(found, *np.quantile(observed, [clipped, 1 - clipped]))
    return found


def local_columns(columns: np.ndarray) -> np.ndarray:
    """Return columns less their local mean and their mean on the weekday.

    Args:
        columns: (S, T, p) on a weekly grid, NaN where unused.

    Returns:
        (S, T, p), 0 where unused.
    """
    local = columns - centred_mean(columns, NEAR_DAYS)
    weeks = local.reshape(len(local), -1, 7, local.shape[2])
    count = np.isfinite(weeks).sum(axis=1, keepdims=True)
    local = (weeks - np.nansum(weeks, axis=1, keepdims=True) / np.maximum(count, 1)).reshape(
        local.shape
    )
    return np.nan_to_num(local)


def centred_mean(values: np.ndarray, days: int) -> np.ndarray:
    """Return the mean over the days around each day, NaN where a quarter of them are not there.

    Args:
        values: (S, T, ...), NaN where missing.
        days: an odd number.

    Returns:
        The same shape.
    """
    half = days // 2
    observed = np.isfinite(values)
    if values.ndim > 2 and (observed == observed[..., :1]).all():
        observed = observed[..., :1]  # one count is that of all columns
    total = _window_sum(np.nan_to_num(values), half)
    count = _window_sum(observed.astype(np.float64), half)
    return np.where(count >= max(3, days // 4), total / np.maximum(count, 1), np.nan)


def inner_days(grid: WeeklyGrid) -> np.ndarray:
    """Return which days of a grid have all days around them, (S, T) bool.

    At the ends a local mean lies to one side, and a trend would look like a deviation.
    """
    around = _window_sum(grid.used.astype(np.float64), NEAR_DAYS // 2)
    return grid.used & (around == NEAR_DAYS)


def _window_sum(values: np.ndarray, half: int) -> np.ndarray:
    """Return the sum over the days up to `half` before and after each. (S, T, ...)."""
    days = values.shape[1]
    sums = np.zeros((len(values), days + 1, *values.shape[2:]))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    inner = max(days - half, 0)  # days before this one have `half` days after them
    found = np.empty(values.shape)
    found[:, :inner] = sums[:, half + 1 :]
    found[:, inner:] = sums[:, -1:]
    found[:, half:] -= sums[:, :inner]
    return found


def weekday_profile(values: np.ndarray) -> np.ndarray:
    """Return the median of the same weekday in the weeks around, NaN with fewer than two.

    Where a third of the days are zero, it is the mean. (S, T) to (S, T).
    """
    weeks = values.reshape(len(values), -1, 7)
    half = PROFILE_WEEKS // 2
    padded = np.pad(weeks, ((0, 0), (half, half), (0, 0)), constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, PROFILE_WEEKS, axis=1)
    around = np.sort(around, axis=-1)  # NaN last
    count = np.isfinite(around).sum(axis=-1)
    last = np.maximum(count - 1, 0)
    low, high = (
        np.take_along_axis(around, i[..., None], -1)[..., 0] for i in (last // 2, -(-last // 2))
    )
    median = (low + high) / 2
    mean = np.nansum(around, axis=-1) / np.maximum(count, 1)
    observed = np.isfinite(values).sum(axis=1)
    zeros = (values == 0).sum(axis=1) > MANY_ZEROS * observed
    profile = np.where(zeros[:, None, None], mean, median)
    return np.where(count >= 2, profile, np.nan).reshape(values.shape)


def extend_levels(values: np.ndarray) -> np.ndarray:
    """Return (S, T) with the last known value carried on, and the first one carried back."""
    for flipped in (False, True):
        values = values[:, ::-1] if flipped else values
        days = np.where(np.isfinite(values), np.arange(values.shape[1]), 0)
        last = np.maximum.accumulate(days, axis=1)
        values = np.take_along_axis(values, last, axis=1)
        values = values[:, ::-1] if flipped else values
    return values
