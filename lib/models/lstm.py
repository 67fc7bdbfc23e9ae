"""The LSTM forecaster: one function of (features, future) to ordered quantiles in raw units.

A hybrid of exponential smoothing and a recurrent network, after ES-RNN (Smyl 2020): fixed,
parameter-free references (levels of several half-lives on a deseasonalised window, weekday
medians, a trend, last year's shape) are computed inside the graph from the window alone; an LSTM
encoder over the days and an LSTM decoder over the horizon choose how to mix them, what to add,
and how wide the distribution is. Everything is scaled by the window itself, so a trend or a
change of level outside the training range is nothing new to the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.features import FEATURES, FUTURE
from lib.models.config import ModelConfig
from lib.models.encoder_decoder import Network
from lib.models.window_statistics import (
    SEASON_DAYS,
    WindowStatistics,
    bounded,
    filled,
    finite_or_zero,
    masked_mean,
    mean_of,
    padded,
    present,
    series_values,
    signed_log,
)

EFFECT_LAGS = (2, 3)  # days before and after an event or a factor on which it may act
# Columns: slices where they lie together, which the graph takes in one operation.
CAUSES = slice(FEATURES.index("fator_externo"), FEATURES.index("evento_especial") + 1)
CAUSES_AHEAD = slice(FUTURE.index("fator_externo"), FUTURE.index("evento_especial") + 1)
ROLLING = [
    FEATURES.index(name) for name in ("media_movel_7", "media_movel_30", "lag_7", "desvio_movel_7")
]


class LSTMForecaster(nn.Module):
    """Quantile forecasts of the days that follow a window of the eleven features."""

    factor_mean: Tensor
    factor_std: Tensor
    floor: Tensor
    spread: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.quantiles)
        self.median = config.quantiles.index(0.5)
        self.members = nn.ModuleList(Network(config) for _ in range(config.members))
        self.days = (config.max_context + 7) // 7 * 7  # of values: whole weeks
        self.filter = nn.Parameter(torch.zeros(2, 3, sum(EFFECT_LAGS) + 1))
        # Learned from the training span, not by gradient: units of the factor, the lowest
        # possible value, and the conformal widening of each quantile by day of the horizon.
        self.register_buffer("factor_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("factor_std", torch.ones((), dtype=torch.float64))
        self.register_buffer("floor", torch.tensor(-1e300, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(config.horizon, levels, dtype=torch.float64))

    def forward(self, features: Tensor, future: Tensor) -> Tensor:
        """Quantiles in raw units.

        Args:
            features: shape (batch, days, 11), float64, raw units, NaN where missing.
            future: shape (batch, horizon, len(FUTURE)), float64, NaN where unknown.
        Returns:
            shape (batch, horizon, quantiles), float64, rising along the last axis.
        """
        median, offsets, scale = self.distribution(features, future)
        quantiles = median[..., None] + offsets * self.spread * scale[:, None, None]
        return torch.maximum(quantiles, self.floor)

    def distribution(self, features: Tensor, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Median (raw), offsets of the quantiles from it (in scales), and scale of each window.

        The members' quantiles are averaged level by level (Lichtendahl et al. 2013).
        """
        medians, offsets, scale = self.by_member(features, future)
        return medians.mean(0), offsets.mean(0), scale

    def by_member(self, features: Tensor, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `distribution`, with the members of the ensemble along a first axis. They share
        references and covariate effect, so that a further member costs its recurrence only.
        """
        values = padded(series_values(features), self.days)
        past, effect = self._covariate_effect(values, features, future)
        season = WindowStatistics(values - past)
        level = season.level[:, None]
        # from the level: float32 weights sum to 1 but for a rounding, which would be that of a
        # level far larger than what the series moves by
        references = season.references(future) - level[..., None]  # (batch, horizon, references)
        days = self._days(season, features)
        ahead = self._ahead(season, features, future, references)
        static = filled(season.static())
        medians, offsets = [], []
        for network in self.members:
            weights, deviation, offset = network(days, static, ahead)
            moved = (weights * references).sum(-1) + deviation * season.scale
            medians.append(level + effect + moved)
            offsets.append(offset)
        return torch.stack(medians), torch.stack(offsets), season.scale[:, 0]

    def _covariate_effect(
        self, values: Tensor, features: Tensor, future: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What event and factor move, by one filter for all series, in raw units of each window.

        Linear in the covariates of the days around (planned events reach back): taken off the
        past before its levels are measured, and put on the days ahead. → (batch, days), (batch,
        horizon).
        """
        recent = values[:, -SEASON_DAYS:]
        seen = present(recent)
        recent = torch.where(seen, recent, 0.0)
        center = mean_of(recent, seen)[:, None]
        spread = mean_of(torch.abs(torch.where(seen, recent - center, 0.0)), seen)[:, None]
        units = torch.stack([spread, torch.abs(center)], dim=-1)  # (batch, 1, 2)
        past = features[..., CAUSES].transpose(1, 2)
        past = F.pad(past, (self.days, 0), value=torch.nan)[..., -self.days :]
        covariates = torch.cat([past, future[..., CAUSES_AHEAD].transpose(1, 2)], dim=-1)
        factor, event = covariates.split(1, dim=1)
        factor = (factor - self.factor_mean) / self.factor_std
        # the days ahead of an unknown factor are as the last four weeks were
        usual = masked_mean(factor[..., self.days - 28 : self.days])[..., None]
        factor = torch.where(present(factor), factor, usual)
        causes = torch.cat([finite_or_zero(event), factor, torch.abs(factor)], dim=1)
        causes = F.pad(causes, (EFFECT_LAGS[1], EFFECT_LAGS[0]))
        lags = sum(EFFECT_LAGS) + 1
        by_lag = self.filter.double().permute(0, 2, 1).reshape(2, -1)
        moved = (units @ by_lag).reshape(-1, lags, causes.shape[1]) @ causes
        length = self.days + int(future.shape[1])
        effect = torch.stack([moved[:, lag, lag : lag + length] for lag in range(lags)], 1).sum(1)
        return effect[:, : self.days], effect[:, self.days :]

    def _days(self, season: WindowStatistics, features: Tensor) -> Tensor:
        """What is told of each day of the context. → (batch, encoder_days, N_ENCODER), float32."""
        days = self.config.encoder_days
        recent = features[:, -days:]
        values = torch.stack([season.values[:, -days:], season.flat[:, -days:]], dim=-1)
        rolling = recent[..., ROLLING]
        level = season.level[:, None, None]
        scaled = torch.cat([values - level, rolling[..., :3] - level, rolling[..., 3:]], dim=-1)
        scaled = scaled / season.scale[..., None]
        factor, event = recent[..., CAUSES].split(1, dim=-1)
        numbers = torch.cat([scaled, self._factor(factor, features)], dim=-1)
        masks = present(torch.cat([values[..., :1], rolling[..., 1:2], factor, event], dim=-1))
        position = torch.arange(-days, 0, device=features.device).double()[:, None] / 100.0
        rest = [recent[..., :4], event, position.expand(features.shape[0], -1, -1)]
        inputs = [signed_log(bounded(numbers)), filled(torch.cat(rest, dim=-1)), masks.float()]
        return torch.cat(inputs, dim=-1)

    def _ahead(
        self, season: WindowStatistics, features: Tensor, future: Tensor, references: Tensor
    ) -> Tensor:
        """What is told of each day of the horizon. → (batch, horizon, N_DECODER), float32."""
        horizon = int(future.shape[1])
        scale = season.scale[..., None]
        first = FUTURE.index("last_year")
        last_year, middle = future[..., first : first + 2], future[..., first + 2 :]
        factor, event = future[..., CAUSES_AHEAD].split(1, dim=-1)
        scaled = torch.cat([last_year - middle, references], dim=-1) / scale
        numbers = torch.cat([scaled, self._factor(factor, features)], dim=-1)
        sin, cos = future[..., 4:5], future[..., 5:6]
        step = torch.arange(1, horizon + 1, device=future.device).double()
        ahead = torch.stack([step / 28.0, torch.log(step) / 3.0], dim=-1)
        ahead = ahead.expand(future.shape[0], -1, -1)
        rest = [future[..., :6], 2 * sin * cos, cos * cos - sin * sin, event, ahead]
        masks = present(torch.cat([factor, event, last_year[..., :1]], dim=-1))
        inputs = [signed_log(bounded(numbers)), filled(torch.cat(rest, dim=-1)), masks.float()]
        return torch.cat(inputs, dim=-1)

    def _factor(self, factor: Tensor, features: Tensor) -> Tensor:
        """The factor (…, 1) from its mean in training and in the window, in units of training."""
        mean = masked_mean(features[..., FEATURES.index("fator_externo")])[:, None, None]
        return torch.cat([factor - self.factor_mean, factor - mean], dim=-1) / self.factor_std
