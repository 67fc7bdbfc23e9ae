"""What a window of features says of itself, in torch and without parameters.

The network's fixed references are computed here, inside the graph: robust weekday profiles,
exponentially weighted levels and trends, weekday medians, last year's shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib.features import FEATURES, FUTURE

RAW_HALF_LIVES = (1.5, 4.0)
LEVEL_HALF_LIVES = (4.0, 10.0, 28.0)
TREND_HALF_LIVES = (10.0, 20.0, 45.0)
N_REFERENCES = len(RAW_HALF_LIVES + LEVEL_HALF_LIVES + TREND_HALF_LIVES) + 6
SEASON_DAYS = 56  # eight weeks of weekdays
TINY = 1e-8


class Season:
    """What a window says of itself: values, scale, weekday profiles, levels. No parameters.

    Days are counted back from the last, so day h of the horizon shares the weekday of the last
    days h-7, h-14, … and no calendar is needed for the weekly profile. A short context is padded
    with missing days in front, so every shape is fixed.
    """

    def __init__(self, features: Tensor, days: int, effect: Tensor | None = None) -> None:
        self.features = features
        values = padded(series_values(features), days)  # (batch, days)
        self.values = values if effect is None else values - effect
        self.observed = present(self.values)
        clean, self.recent_profile, self.profile = self._clean()
        recent = clean[:, -SEASON_DAYS:]
        # a scale is a unit, not something to learn through
        self.center = masked_mean(recent).detach()
        spread = masked_mean(magnitude(recent - self.center[:, None]))
        self.scale = torch.maximum(spread.detach(), 1e-3 * torch.abs(self.center) + TINY)
        phase = torch.arange(-days, 0, device=features.device)
        self.age = -1.0 - phase.double()  # 0 on the last day
        seasonal = self.profile[:, torch.remainder(phase, 7)]
        self.flat = self.values - seasonal
        self.clean = clean - seasonal
        raw = [self._line(self.flat, h, trend=False)[0] for h in RAW_HALF_LIVES]
        robust = [self._line(self.clean, h, trend=False)[0] for h in LEVEL_HALF_LIVES]
        self.levels = torch.stack(raw + robust, -1)
        self.level = robust[1]

    def _clean(self) -> tuple[Tensor, Tensor, Tensor]:
        """Values with outliers pulled in, and the weekday profile of recent and of all weeks.

        A day is its week's median, plus its weekday's profile, plus a rest; a rest beyond four
        robust deviations is cut there, so that one spike does not move a level for a month.
        → (batch, days), and two centred (batch, 7) from the first target day on: medians
        of the last eight weeks, and means of all weeks with a half-life of twelve.
        """
        weeks = self.values.reshape(self.values.shape[0], -1, 7)
        days = present(weeks)
        middle = masked_median(weeks)[..., None]
        # A week of fewer than four days has no middle worth a deviation from it.
        deviation = torch.where(days.sum(-1, keepdim=True) >= 4, weeks - middle, torch.nan)
        profile = finite_or_zero(masked_median(deviation.transpose(1, 2)))
        rest = (weeks - middle - profile[:, None]).flatten(1)
        size = magnitude(rest)
        robust = finite_or_zero(1.48 * masked_median(size))
        limit = 4.0 * torch.maximum(robust, 0.6 * masked_mean(size))[:, None]
        cut = torch.minimum(torch.maximum(rest, -limit), limit).reshape(weeks.shape)
        clean = (middle + profile[:, None] + cut).flatten(1)
        clean = torch.where(self.observed, clean, torch.nan)
        recent = finite_or_zero(masked_median(deviation[:, -SEASON_DAYS // 7 :].transpose(1, 2)))
        kept = present(deviation)
        age = torch.arange(weeks.shape[1] - 1, -1, -1, device=weeks.device).double()
        weight = torch.exp(age * (-math.log(2) / 12))[:, None] * kept
        smooth = torch.where(kept, profile[:, None] + cut, 0.0) * weight
        smooth = smooth.sum(1) / weight.sum(1).clamp(min=1e-6)
        return clean, centred(recent), centred(smooth)

    def _line(self, values: Tensor, half_life: float, *, trend: bool) -> tuple[Tensor, Tensor]:
        """Exponentially weighted level and slope of deseasonalised values at the last day.

        Discounted least squares (Brown 1963); the slope is shrunk where the days are few.
        """
        weight = torch.exp(self.age * (-math.log(2) / half_life)) * self.observed
        x = -self.age
        flat = finite_or_zero(values)
        s0 = weight.sum(-1)
        mean_y = (weight * flat).sum(-1) / s0.clamp(min=1e-6)
        mean_y = torch.where(s0 > 1e-6, mean_y, self.center)
        if not trend:
            return mean_y, torch.zeros_like(mean_y)
        mean_x = (weight * x).sum(-1) / s0.clamp(min=1e-6)
        dx = x - mean_x[:, None]
        covariance = (weight * dx * (flat - mean_y[:, None])).sum(-1)
        slope = covariance / ((weight * dx * dx).sum(-1) + half_life**2)
        return mean_y - slope * mean_x, slope

    def references(self, future: Tensor) -> Tensor:
        """Forecasts that need no learning. → (batch, horizon, N_REFERENCES), raw units."""
        step = torch.arange(future.shape[1], device=future.device)
        phase = torch.remainder(step, 7)
        seasonal = self.profile[:, phase]
        level = self.level[:, None]
        weeks = self.values[:, -SEASON_DAYS:].reshape(-1, SEASON_DAYS // 7, 7)
        weekday_median = masked_median(weeks.transpose(1, 2))[:, phase]
        last_week = self.values[:, -7:][:, phase]
        found = [level.expand(-1, future.shape[1]), level + self.recent_profile[:, phase]]
        for reference in (weekday_median, last_week):
            found.append(torch.where(present(reference), reference, level + seasonal))
        for half_life in TREND_HALF_LIVES:
            start, slope = self._line(self.clean, half_life, trend=True)
            found.append(start[:, None] + slope[:, None] * (step + 1) + seasonal)
        for name in ("last_year", "last_year_week"):
            shape = future[..., FUTURE.index(name)] - future[..., FUTURE.index("last_year_level")]
            shape = shape if name == "last_year" else shape + seasonal
            found.append(level + torch.where(present(shape), shape, seasonal))
        by_level = self.levels[:, None, :] + seasonal[..., None]
        return torch.cat([by_level, torch.stack(found, dim=-1)], dim=-1)

    def static(self) -> Tensor:
        """Scale against level, share missing, share zero, strength of the weekday. (batch, 4)."""
        relative = torch.log(self.scale / (torch.abs(self.center) + self.scale))
        recent = slice(-SEASON_DAYS, None)
        missing = 1.0 - self.observed[:, recent].double().mean(-1)
        # near, not equal: the last value is a difference of sums, whose rounding is the machine's
        small = magnitude(self.values[:, recent]) <= 1e-6 * self.scale[:, None]
        zero = small.double().mean(-1)
        weekly = torch.abs(self.profile).mean(-1) / self.scale
        return torch.stack([relative, missing, zero, weekly], dim=-1)

    def scaled(self, values: Tensor) -> Tensor:
        """Days in units of the window: distance from its level in scales, squashed."""
        return squash((values - self.level[:, None]) / self.scale[:, None])

    def column(self, name: str) -> Tensor:
        """One of the eleven features. → (batch, days of the context), raw units."""
        return self.features[..., FEATURES.index(name)]


def series_values(features: Tensor) -> Tensor:
    """`lib.features.values_of` in torch, the last value bounded. (batch, days, 11) → (…, days + 7).

    The last value is a difference of large sums; where a client's (or a coalition's) rolling mean
    does not belong to its lags it could be anything, so it stays within two ranges of the rest.
    """
    lag_1 = features[..., FEATURES.index("lag_1")]
    lag_7 = features[:, :6, FEATURES.index("lag_7")]
    mean_7 = features[:, -1, FEATURES.index("media_movel_7")]
    previous = lag_1[:, -6:]
    observed = present(previous)
    count = observed.sum(-1)
    last = mean_7 * (count + 1) - torch.where(observed, previous, 0.0).sum(-1)
    seen = present(lag_1)
    low = torch.where(seen, lag_1, torch.inf).amin(-1)
    high = torch.where(seen, lag_1, -torch.inf).amax(-1)
    reach = 2.0 * (high - low).clamp(min=0.0) + 0.5 * torch.abs(high)
    bounded = torch.minimum(torch.maximum(last, low - reach), high + reach)
    last = torch.where(seen.any(-1) & present(last), bounded, last)
    return torch.cat([lag_7, lag_1, last[:, None]], dim=-1)


def magnitude(x: Tensor) -> Tensor:
    """Absolute value; NaN stays NaN, and its gradient 0."""
    return torch.where(present(x), torch.abs(finite_or_zero(x)), torch.nan)


def padded(x: Tensor, days: int) -> Tensor:
    """The last `days` of x, missing ones in front of a shorter one. → (batch, days)."""
    before = torch.full_like(x[:, :1], torch.nan).expand(-1, days)
    return torch.cat([before, x], dim=1)[:, -days:]


def present(x: Tensor) -> Tensor:
    """Where x is not NaN, in one operation. Nothing here is infinite that is not meant to be."""
    return x == x


def masked_mean(x: Tensor) -> Tensor:
    """Mean of the present entries of the last axis, 0 where there is none."""
    finite = present(x)
    return torch.where(finite, x, 0.0).sum(-1) / finite.sum(-1).clamp(min=1)


def masked_median(x: Tensor) -> Tensor:
    """Median of the present entries of the last axis (mean of the middle two), NaN if none."""
    finite = present(x)
    count = finite.sum(-1, keepdim=True)
    ordered = torch.where(finite, x, torch.inf).sort(-1).values
    low = ordered.gather(-1, ((count - 1).clamp(min=0)) // 2)
    high = ordered.gather(-1, (count // 2).clamp(max=x.shape[-1] - 1))
    return torch.where(count > 0, (low + high) / 2, torch.nan).squeeze(-1)


def centred(x: Tensor) -> Tensor:
    """Less the mean of the last axis."""
    return x - x.mean(-1, keepdim=True)


def squash(x: Tensor) -> Tensor:
    """Linear near zero, logarithmic far out: an outlier is seen and does not blind. Missing: 0."""
    x = finite_or_zero(x)  # the root's gradient at NaN would be NaN
    size = torch.abs(x)  # asinh, spelled out: the ONNX exporter has no asinh
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1.0))


def known(x: Tensor) -> Tensor:
    """1 where finite, 0 where missing."""
    return present(x).double()


def filled(x: Tensor) -> Tensor:
    """Missing as 0, in the network's float32."""
    return torch.where(present(x), x, 0.0).float()


def finite_or_zero(x: Tensor) -> Tensor:
    """Missing as 0, precision kept."""
    return torch.where(present(x), x, 0.0)
