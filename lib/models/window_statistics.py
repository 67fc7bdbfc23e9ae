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
HALF_LIVES = RAW_HALF_LIVES + LEVEL_HALF_LIVES + TREND_HALF_LIVES
N_BASE_FORECASTS = len(HALF_LIVES) + 6
SEASON_DAYS = 56  # eight weeks of weekdays
TINY = 1e-8


class WindowStatistics:
    """What a window says of itself: scale, weekday profiles, levels, trends. No parameters.

    Days are counted back from the last, so day h of the horizon shares the weekday of the last
    days h-7, h-14, … and no calendar is needed for the weekly profile. A short context is padded
    with missing days in front, so every shape is fixed.

    Args:
        values: (batch, whole weeks of days), raw units, NaN where missing.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.days = int(values.shape[1])  # a plain number is a constant of the exported graph
        self.observed = present(values)
        clean, recent_profile, self.profile = self._clean()
        seen = self.observed[:, -SEASON_DAYS:]
        recent = torch.where(seen, clean[:, -SEASON_DAYS:], 0.0)
        # a scale is a unit, not something to learn through
        self.center = mean_of(recent, seen).detach()[:, None]
        away = torch.where(seen, recent - self.center, 0.0)
        spread = mean_of(torch.abs(away), seen).detach()[:, None]
        # weeks that are all missing or all the same say nothing: the whole window does
        whole = torch.where(self.observed, clean, 0.0)
        wide_center = mean_of(whole, self.observed).detach()[:, None]
        away = torch.where(self.observed, whole - wide_center, 0.0)
        wide = mean_of(torch.abs(away), self.observed).detach()[:, None]
        self.center = torch.where(seen.any(-1, keepdim=True), self.center, wide_center)
        spread = torch.where(spread > 1e-6 * wide, spread, wide)
        self.scale = torch.maximum(spread, 1e-3 * torch.abs(self.center) + TINY)
        seasonal = self.profile.repeat(1, self.days // 7)
        self.flat = values - seasonal
        self.clean = torch.where(self.observed, clean - seasonal, torch.nan)
        self._profiles = torch.stack([self.profile, recent_profile], dim=1)
        self.levels, self._starts, self._slopes = self._lines()
        self.level = self.levels[:, len(RAW_HALF_LIVES) + 1]

    def _clean(self) -> tuple[Tensor, Tensor, Tensor]:
        """Values with outliers pulled in, and the weekday profile of recent and of all weeks.

        A day is its week's median, plus its weekday's profile, plus a rest; a rest beyond four
        robust deviations is cut there, so that one spike does not move a level for a month.
        → (batch, days), anything where missing, and two centred (batch, 7) from the first target
        day on: medians of the last eight weeks, and means of all weeks with a half-life of twelve.
        """
        weeks = self.values.reshape(-1, self.days // 7, 7)
        seen = self.observed.reshape(-1, self.days // 7, 7)
        middle = median_of(weeks, seen)[..., None]
        # A week of fewer than four days has no middle worth a deviation from it.
        kept = seen & (seen.sum(-1, keepdim=True) >= 4)
        deviation, by_weekday = (weeks - middle).transpose(1, 2), kept.transpose(1, 2)
        profile = finite_or_zero(median_of(deviation, by_weekday))[:, None]
        last = slice(-SEASON_DAYS // 7, None)
        recent = finite_or_zero(median_of(deviation[..., last], by_weekday[..., last]))
        rest = torch.where(seen, weeks - middle - profile, 0.0).reshape(-1, self.days)
        size = torch.abs(rest)
        robust = finite_or_zero(1.48 * median_of(size, self.observed))
        limit = 4.0 * torch.maximum(robust, 0.6 * mean_of(size, self.observed))[:, None]
        cut = torch.minimum(torch.maximum(rest, -limit), limit).reshape(-1, self.days // 7, 7)
        usual = profile + cut
        age = torch.arange(self.days // 7 - 1, -1, -1, device=weeks.device).double()
        weight = torch.exp(age * (-math.log(2) / 12))[:, None] * kept
        smooth = (usual * weight).sum(1) / weight.sum(1).clamp(min=1e-6)
        return (middle + usual).reshape(-1, self.days), centred(recent), centred(smooth)

    def _lines(self) -> tuple[Tensor, Tensor, Tensor]:
        """Exponentially weighted levels and trends of the deseasonalised values, at the last day.

        Discounted least squares (Brown 1963) by their sums, which are products with fixed
        weights; a slope is shrunk where the days are few.
        → (batch, raw and robust levels), (batch, trends) level at the last day, and slope.
        """
        raw, robust = len(RAW_HALF_LIVES), len(LEVEL_HALF_LIVES)
        device = self.values.device
        half_lives = torch.tensor(HALF_LIVES, dtype=torch.float64, device=device)
        x = torch.arange(1 - self.days, 1, device=device).double()[:, None]  # 0 on the last day
        weight = torch.exp(x * math.log(2) / half_lives)  # (days, lines)
        moment = x * weight[:, raw + robust :]
        # less the center, or sums of large values would lose the small differences
        flat, clean = (
            torch.where(self.observed, values - self.center, 0.0)
            for values in (self.flat, self.clean)
        )
        counts = self.observed.double() @ torch.cat([weight, moment, x * moment], 1)
        n = len(HALF_LIVES), len(TREND_HALF_LIVES)
        s0, s1, s2 = counts.split([n[0], n[1], n[1]], dim=1)
        sums = torch.cat([flat @ weight[:, :raw], clean @ weight[:, raw:]], 1)
        mean = sums / s0.clamp(min=1e-6)
        mean_x = s1 / s0[:, raw + robust :].clamp(min=1e-6)
        covariance = clean @ moment - mean_x * sums[:, raw + robust :]
        slope = covariance / (s2 - mean_x * s1 + half_lives[raw + robust :] ** 2)
        mean = mean + self.center
        return mean[:, : raw + robust], mean[:, raw + robust :] - slope * mean_x, slope

    def references(self, future: Tensor) -> Tensor:
        """Forecasts that need no learning. → (batch, horizon, N_REFERENCES), raw units."""
        step = torch.arange(int(future.shape[1]), device=future.device)
        weeks = self.values[:, -SEASON_DAYS:].reshape(-1, SEASON_DAYS // 7, 7).transpose(1, 2)
        usual = torch.stack([median_of(weeks, present(weeks)), self.values[:, -7:]], dim=1)
        tables = torch.cat([self._profiles, usual], dim=1)[..., torch.remainder(step, 7)]
        seasonal, recent, usual = tables.split([1, 1, 2], dim=1)  # (batch, …, horizon)
        level = self.level[:, None, None]
        levels = self.levels[..., None] + seasonal
        flat = torch.zeros_like(seasonal) + level
        usual = torch.where(present(usual), usual, level + seasonal)
        trends = self._starts[..., None] + self._slopes[..., None] * (step + 1) + seasonal
        first = FUTURE.index("last_year")
        day, week, middle = future.transpose(1, 2)[:, first : first + 3].split(1, dim=1)
        shape = torch.cat([day - middle, week - middle + seasonal], dim=1)
        # a series at rest, such as a shop that closed, does not wake up as it was a year ago
        moves = (self.scale > 10 * TINY)[..., None]
        last_year = torch.where(present(shape) & moves, shape, seasonal) + level
        found = [levels, flat, flat + recent, usual, trends, last_year]
        return torch.cat(found, dim=1).transpose(1, 2)

    def static(self) -> Tensor:
        """Scale against level, share missing, share zero, strength of the weekday. (batch, 4)."""
        relative = torch.log(self.scale / (torch.abs(self.center) + self.scale))
        seen = self.observed[:, -SEASON_DAYS:]
        # near, not equal: the last value is a difference of sums, whose rounding is the machine's
        zero = torch.abs(self.values[:, -SEASON_DAYS:]) <= 1e-6 * self.scale
        shares = torch.stack([~seen, seen & zero], dim=1).double().mean(-1)
        weekly = torch.abs(self.profile).mean(-1, keepdim=True) / self.scale
        return torch.cat([relative, shares, weekly], dim=-1)


def series_values(features: Tensor) -> Tensor:
    """`lib.features.values_of` in torch, the last value bounded. (batch, days, 11) → (…, days + 7).

    The last value is a difference of large sums; where a client's (or a coalition's) rolling mean
    does not belong to its lags it could be anything, so it stays within two ranges of the rest.
    A first sale after nothing but zeros has no range to stay in.
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
    last = torch.where(seen.any(-1) & present(last) & (reach > 0), bounded, last)
    return torch.cat([lag_7, lag_1, last[:, None]], dim=-1)


def padded(x: Tensor, days: int) -> Tensor:
    """The last `days` of x, missing ones in front of a shorter one. → (batch, days)."""
    before = torch.full_like(x[:, :1], torch.nan).expand(-1, days)
    return torch.cat([before, x], dim=1)[:, -days:]


def present(x: Tensor) -> Tensor:
    """Where x is not NaN, in one operation. Nothing here is infinite that is not meant to be."""
    return x == x


def mean_of(x: Tensor, seen: Tensor) -> Tensor:
    """Mean of the seen entries of the last axis, 0 where there is none; the others must be 0."""
    return x.sum(-1) / seen.sum(-1).clamp(min=1)


def masked_mean(x: Tensor) -> Tensor:
    """Mean of the present entries of the last axis, 0 where there is none."""
    seen = present(x)
    return mean_of(torch.where(seen, x, 0.0), seen)


def median_of(x: Tensor, seen: Tensor) -> Tensor:
    """Median of the seen entries of the last axis (mean of the middle two), NaN if none."""
    count = seen.sum(-1, keepdim=True)
    ordered = torch.where(seen, x, torch.inf).sort(-1).values
    middle_two = torch.cat([(count - 1).clamp(min=0), count], dim=-1) // 2
    middle = ordered.gather(-1, middle_two).mean(-1)
    return torch.where(count[..., 0] > 0, middle, torch.nan)


def centred(x: Tensor) -> Tensor:
    """Less the mean of the last axis."""
    return x - x.mean(-1, keepdim=True)


def signed_log(x: Tensor) -> Tensor:
    """Linear near zero, logarithmic far out: an outlier is seen and does not blind. Missing: 0."""
    x = finite_or_zero(x)  # the root's gradient at NaN would be NaN
    size = torch.abs(x)  # asinh, spelled out: the ONNX exporter has no asinh
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1.0))


def bounded(x: Tensor) -> Tensor:
    """Missing as 0, in float32, of which the square is still finite."""
    return finite_or_zero(x).clamp(-1e15, 1e15).float()


def known(x: Tensor) -> Tensor:
    """1 where finite, 0 where missing."""
    return present(x).double()


def filled(x: Tensor) -> Tensor:
    """Missing as 0, in the network's float32."""
    return torch.where(present(x), x, 0.0).float()


def finite_or_zero(x: Tensor) -> Tensor:
    """Missing as 0, precision kept."""
    return torch.where(present(x), x, 0.0)
