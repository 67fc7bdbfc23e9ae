"""Forecasts of a window that need no learning, which the network weights and corrects."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.features import FUTURE
from lib.models.masked import horizon_of, is_observed, median_where
from lib.models.window_statistics import HALF_LIVES, SEASON_DAYS, TINY, WindowStatistics

# One a half-life; two of constant level, weekday median, last week, two of last year.
N_BASE_FORECASTS = len(HALF_LIVES) + 6


def compute_base_forecasts(statistics: WindowStatistics, future: Tensor) -> Tensor:
    """Return the base forecasts of each day of the horizon.

    In order: each level with the weekday profile; the level alone, and with the recent profile;
    the weekday median of eight weeks; last week's value; each trend with the profile; last year's
    day and week, moved to the level of today.

    Args:
        statistics: of the windows of a batch.
        future: (batch, horizon, len(FUTURE)), float64, raw units, NaN where unknown.

    Returns:
        (batch, horizon, N_BASE_FORECASTS), float64, raw units.
    """
    step = torch.arange(horizon_of(future), device=future.device)
    values = statistics.values
    weeks = values[:, -SEASON_DAYS:].reshape(-1, SEASON_DAYS // 7, 7).transpose(1, 2)
    by_weekday = [
        statistics.profile,
        statistics.recent_profile,
        median_where(weeks, is_observed(weeks)),
        values[:, -7:],
    ]
    by_step = torch.stack(by_weekday, dim=1)[..., torch.remainder(step, 7)]
    seasonal, recent, past = by_step.split([1, 1, 2], dim=1)  # (batch, 1 or 2, horizon)
    level = statistics.level[:, None, None]
    levels = statistics.levels[..., None] + seasonal
    constant = torch.zeros_like(seasonal) + level
    past = torch.where(is_observed(past), past, level + seasonal)
    trends = statistics.trend_levels[..., None] + statistics.slopes[..., None] * (step + 1)
    trends = trends + seasonal
    first = FUTURE.index("last_year")
    day, week, year_level = future.transpose(1, 2)[:, first : first + 3].split(1, dim=1)
    shape = torch.cat([day - year_level, week - year_level + seasonal], dim=1)
    # a series at rest, such as a closed shop, does not start again because it sold a year ago
    moves = (statistics.scale > 10 * TINY)[..., None]
    last_year = torch.where(is_observed(shape) & moves, shape, seasonal) + level
    forecasts = [levels, constant, constant + recent, past, trends, last_year]
    return torch.cat(forecasts, dim=1).transpose(1, 2)  # (batch, horizon, N_BASE_FORECASTS)
