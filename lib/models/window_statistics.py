"""Statistics of one window: robust level, scale, weekday profile and trends. No parameters.

They are computed inside the graph from the window alone, so that a trend or a level outside the
range of the training data is nothing new to the network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib.features import FEATURES
from lib.models.masked import (
    is_observed,
    mean_where,
    median_where,
    subtract_mean,
    zero_missing,
)

# Half-lives of exponentially weighted levels and trends, in days.
RAW_HALF_LIVES = (1.5, 4.0)  # of the values as they are
ROBUST_HALF_LIVES = (4.0, 10.0, 28.0)  # of the values with outliers clipped
TREND_HALF_LIVES = (10.0, 20.0, 45.0)
HALF_LIVES = RAW_HALF_LIVES + ROBUST_HALF_LIVES + TREND_HALF_LIVES
N_LEVELS = len(RAW_HALF_LIVES + ROBUST_HALF_LIVES)
PROFILE_HALF_LIFE = 12  # weeks, of the smoothed weekday profile
SEASON_DAYS = 56  # eight weeks of weekdays
CLIP_DEVIATIONS = 4.0  # robust deviations beyond which a value is an outlier
TINY = 1e-8  # the smallest scale, in units of the series


class WindowStatistics:
    """Level, scale, weekday profile and trends of each window of a batch.

    Days are counted back from the last, so day h of the horizon shares the weekday of the last
    days h-7, h-14, … and no calendar is needed for the weekly profile. A short context is padded
    with missing days in front, so every shape is fixed.

    Attributes:
        values: (batch, days), raw units, as given.
        observed: (batch, days), boolean.
        center: (batch, 1), mean of the last eight weeks.
        scale: (batch, 1), mean absolute deviation of the last eight weeks, above 0.
        profile: (batch, 7), smoothed weekday effects from the first target day on, mean 0.
        recent_profile: (batch, 7), the same as medians of the last eight weeks.
        deseasonalised: (batch, days), values less the profile.
        clean: (batch, days), the same with outliers clipped.
        levels: (batch, N_LEVELS), one a half-life: raw ones, then robust ones.
        level: (batch,), the robust level of the middle half-life.
        trend_levels: (batch, trends), level of each trend line at the last day.
        slopes: (batch, trends), units a day.
    """

    def __init__(self, values: Tensor) -> None:
        """Compute the statistics.

        Args:
            values: (batch, days), whole weeks of days, raw units, NaN where missing.
        """
        self.values = values
        self.days = int(values.shape[1])  # a plain number is a constant of the exported graph
        self.observed = is_observed(values)
        clipped, self.recent_profile, self.profile = self._clip_outliers()
        self.center, self.scale = self._measure_scale(clipped)
        seasonal = self.profile.repeat(1, self.days // 7)  # (batch, days)
        self.deseasonalised = values - seasonal
        self.clean = torch.where(self.observed, clipped - seasonal, torch.nan)
        self.levels, self.trend_levels, self.slopes = self._fit_levels_and_trends()
        self.level = self.levels[:, len(RAW_HALF_LIVES) + 1]

    def _clip_outliers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clip outliers, and measure the weekday profile of recent and of all weeks.

        A day is its week's median, plus its weekday's profile, plus a rest. A rest beyond four
        robust deviations is clipped, so that one spike does not move a level for a month.

        Returns:
            Clipped values (batch, days), arbitrary where missing. Two profiles (batch, 7) of mean
            0 from the first target day on: medians of the last eight weeks, and means of all
            weeks with a half-life of twelve weeks.
        """
        weeks = self.values.reshape(-1, self.days // 7, 7)  # (batch, weeks, 7)
        observed = self.observed.reshape(-1, self.days // 7, 7)
        middle = median_where(weeks, observed)[..., None]  # (batch, weeks, 1)
        # A week of fewer than four days has no middle worth a deviation from it.
        full = observed & (observed.sum(-1, keepdim=True) >= 4)
        deviation, by_weekday = (weeks - middle).transpose(1, 2), full.transpose(1, 2)
        profile = zero_missing(median_where(deviation, by_weekday))[:, None]
        last = slice(-SEASON_DAYS // 7, None)
        recent = zero_missing(median_where(deviation[..., last], by_weekday[..., last]))
        rest = torch.where(observed, weeks - middle - profile, 0.0).reshape(-1, self.days)
        size = torch.abs(rest)
        robust = zero_missing(1.48 * median_where(size, self.observed))
        limit = torch.maximum(robust, 0.6 * mean_where(size, self.observed))
        limit = CLIP_DEVIATIONS * limit[:, None]
        clipped = torch.minimum(torch.maximum(rest, -limit), limit)
        effect = profile + clipped.reshape(-1, self.days // 7, 7)  # (batch, weeks, 7)
        age = torch.arange(self.days // 7 - 1, -1, -1, device=weeks.device).double()
        weight = torch.exp(age * (-math.log(2) / PROFILE_HALF_LIFE))[:, None] * full
        smooth = (effect * weight).sum(1) / weight.sum(1).clamp(min=1e-6)
        values = (middle + effect).reshape(-1, self.days)
        return values, subtract_mean(recent), subtract_mean(smooth)

    def _measure_scale(self, clipped: Tensor) -> tuple[Tensor, Tensor]:
        """Return center and scale of each window, both (batch, 1) and without gradient.

        Weeks that are all missing or all the same have no scale: then the whole window gives it.
        """
        observed = self.observed[:, -SEASON_DAYS:]
        center, spread = _center_and_spread(clipped[:, -SEASON_DAYS:], observed)
        whole_center, whole_spread = _center_and_spread(clipped, self.observed)
        center = torch.where(observed.any(-1, keepdim=True), center, whole_center)
        spread = torch.where(spread > 1e-6 * whole_spread, spread, whole_spread)
        return center, torch.maximum(spread, 1e-3 * torch.abs(center) + TINY)

    def _fit_levels_and_trends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Fit exponentially weighted levels and trends to the deseasonalised values.

        Discounted least squares (Brown 1963) by their sums, which are products with fixed
        weights; a slope is shrunk where the days are few.

        Returns:
            Levels (batch, N_LEVELS); level of each trend line at the last day and its slope a
            day, (batch, trends).
        """
        raw = len(RAW_HALF_LIVES)
        device = self.values.device
        half_lives = torch.tensor(HALF_LIVES, dtype=torch.float64, device=device)
        x = torch.arange(1 - self.days, 1, device=device).double()[:, None]  # 0 on the last day
        weight = torch.exp(x * math.log(2) / half_lives)  # (days, half-lives)
        moment = x * weight[:, N_LEVELS:]  # (days, trends)
        # less the center, or sums of large values would lose the small differences
        deseasonalised, clean = (
            torch.where(self.observed, values - self.center, 0.0)
            for values in (self.deseasonalised, self.clean)
        )
        counts = self.observed.double() @ torch.cat([weight, moment, x * moment], 1)
        trends = len(TREND_HALF_LIVES)
        s0, s1, s2 = counts.split([len(HALF_LIVES), trends, trends], dim=1)
        sums = torch.cat([deseasonalised @ weight[:, :raw], clean @ weight[:, raw:]], 1)
        mean = sums / s0.clamp(min=1e-6)
        mean_x = s1 / s0[:, N_LEVELS:].clamp(min=1e-6)
        covariance = clean @ moment - mean_x * sums[:, N_LEVELS:]
        slope = covariance / (s2 - mean_x * s1 + half_lives[N_LEVELS:] ** 2)
        mean = mean + self.center
        return mean[:, :N_LEVELS], mean[:, N_LEVELS:] - slope * mean_x, slope

    def describe(self) -> Tensor:
        """Return the static inputs of the network, (batch, 4) without unit.

        Log of scale against level, share of missing days, share of zeros, and the strength of the
        weekday profile in scales.
        """
        relative = torch.log(self.scale / (torch.abs(self.center) + self.scale))
        observed = self.observed[:, -SEASON_DAYS:]
        # near, not equal: the last value is a difference of sums, whose rounding is the machine's
        zero = torch.abs(self.values[:, -SEASON_DAYS:]) <= 1e-6 * self.scale
        shares = torch.stack([~observed, observed & zero], dim=1).double().mean(-1)
        weekly = torch.abs(self.profile).mean(-1, keepdim=True) / self.scale
        return torch.cat([relative, shares, weekly], dim=-1)


def _center_and_spread(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and mean absolute deviation, both (batch, 1).

    Detached: a scale is a unit, not something to learn through.
    """
    values = torch.where(observed, values, 0.0)
    center = mean_where(values, observed).detach()[:, None]
    deviation = torch.where(observed, values - center, 0.0)
    return center, mean_where(torch.abs(deviation), observed).detach()[:, None]


def series_values(features: Tensor) -> Tensor:
    """Return the series behind windows of features.

    The last value is a difference of large sums. Where a rolling mean does not belong to its lags
    (from a client, or in a coalition of an explanation) it could be anything, so it is kept
    within two ranges of the other values. A first sale after nothing but zeros has no range to
    be kept in.

    Args:
        features: (batch, days, 11), raw units, NaN where missing.

    Returns:
        (batch, days + 7), raw units, NaN where missing; the last entry is the last day.
    """
    lag_1 = features[..., FEATURES.index("lag_1")]
    lag_7 = features[:, :6, FEATURES.index("lag_7")]
    mean_7 = features[:, -1, FEATURES.index("media_movel_7")]
    previous = lag_1[:, -6:]
    observed = is_observed(previous)
    count = observed.sum(-1)
    last = mean_7 * (count + 1) - torch.where(observed, previous, 0.0).sum(-1)
    observed = is_observed(lag_1)
    low = torch.where(observed, lag_1, torch.inf).amin(-1)
    high = torch.where(observed, lag_1, -torch.inf).amax(-1)
    reach = 2.0 * (high - low).clamp(min=0.0) + 0.5 * torch.abs(high)
    bounded = torch.minimum(torch.maximum(last, low - reach), high + reach)
    last = torch.where(observed.any(-1) & is_observed(last) & (reach > 0), bounded, last)
    return torch.cat([lag_7, lag_1, last[:, None]], dim=-1)
