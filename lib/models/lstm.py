"""The LSTM forecaster: from features and the known future to ordered quantiles in raw units.

A hybrid of exponential smoothing and a recurrent network, after ES-RNN (Smyl 2020). Base forecasts
without parameters (levels of several half-lives on a deseasonalised window, weekday medians,
trends, last year's shape) are computed inside the graph from the window alone. An LSTM encoder
over the context and an LSTM decoder over the horizon choose how to weight them, how to correct
them, and how wide the distribution is. Everything is scaled by the window itself, so a trend or a
level outside the range of the training data is nothing new to the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.features import FEATURES, FUTURE
from lib.models.base_forecasts import compute_base_forecasts
from lib.models.config import ModelConfig
from lib.models.encoder_decoder import EncoderDecoder
from lib.models.masked import (
    horizon_of,
    is_observed,
    mean_observed,
    mean_where,
    signed_log,
    take_last_days,
    to_bounded_float32,
    to_float32,
    zero_missing,
)
from lib.models.window_statistics import SEASON_DAYS, WindowStatistics, series_values

LAGS_BEFORE, LAGS_AFTER = 2, 3  # days before and after a covariate's day on which it may act
N_LAGS = LAGS_BEFORE + LAGS_AFTER + 1
FACTOR = FEATURES.index("fator_externo")
# Columns: slices where they lie together, which the graph takes in one operation.
COVARIATES = slice(FACTOR, FEATURES.index("evento_especial") + 1)
FUTURE_COVARIATES = slice(FUTURE.index("fator_externo"), FUTURE.index("evento_especial") + 1)
ROLLING = [
    FEATURES.index(name) for name in ("media_movel_7", "media_movel_30", "lag_7", "desvio_movel_7")
]
NO_FLOOR = -1e300


class LSTMForecaster(nn.Module):
    """Forecast quantiles of the days that follow a window of the eleven features.

    Examples:
        >>> model = LSTMForecaster(ModelConfig(horizon=7)).eval()
        >>> features = torch.full((2, 60, len(FEATURES)), torch.nan, dtype=torch.float64)
        >>> future = torch.full((2, 7, len(FUTURE)), torch.nan, dtype=torch.float64)
        >>> model(features, future).shape
        torch.Size([2, 7, 7])
    """

    # Learned from the training data, not by gradient.
    factor_mean: Tensor  # (), units of the factor
    factor_std: Tensor  # (), units of the factor
    floor: Tensor  # (), lowest possible value, units of the series
    spread: Tensor  # (horizon, quantiles), conformal widening of the offsets

    def __init__(self, config: ModelConfig) -> None:
        """Initialise the weights at random."""
        super().__init__()
        self.config = config
        self.median_index = config.quantiles.index(0.5)
        self.members = nn.ModuleList(EncoderDecoder(config) for _ in range(config.members))
        self.window_days = (config.max_context + 7) // 7 * 7  # of values: whole weeks
        # units (mean absolute deviation, level) by causes (event, factor, |factor|) by lags
        self.filter = nn.Parameter(torch.zeros(2, 3, N_LAGS))
        spread = torch.ones(config.horizon, len(config.quantiles), dtype=torch.float64)
        self.register_buffer("factor_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("factor_std", torch.ones((), dtype=torch.float64))
        self.register_buffer("floor", torch.tensor(NO_FLOOR, dtype=torch.float64))
        self.register_buffer("spread", spread)

    def forward(self, features: Tensor, future: Tensor) -> Tensor:
        """Return the quantile forecasts of one batch.

        Args:
            features: (batch, days, 11), float64, raw units, NaN where missing.
            future: (batch, horizon, len(FUTURE)), float64, raw units, NaN where unknown.

        Returns:
            (batch, horizon, quantiles), float64, raw units, rising along the last axis.
        """
        median, offsets, scale = self.predict_distribution(features, future)
        quantiles = median[..., None] + offsets * self.spread * scale[:, None, None]
        return torch.maximum(quantiles, self.floor)

    def predict_distribution(
        self, features: Tensor, future: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecast distribution before calibration, averaged over the members.

        Quantiles are averaged level by level (Lichtendahl et al. 2013).

        Args:
            features: as in `forward`.
            future: as in `forward`.

        Returns:
            Median (batch, horizon) in raw units, offsets of the quantiles from it (batch,
            horizon, quantiles) in scales, and scale (batch,) of each window in raw units.
        """
        medians, offsets, scale = self.predict_by_member(features, future)
        return medians.mean(0), offsets.mean(0), scale

    def predict_by_member(self, features: Tensor, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecast distribution of each member, along a first axis.

        Members share base forecasts and covariate effects, so that a further one costs its
        recurrence only.

        Returns:
            Medians (members, batch, horizon), offsets (members, batch, horizon, quantiles) and
            scale (batch,), in the units of `predict_distribution`.
        """
        values = take_last_days(series_values(features), self.window_days)
        past_effect, future_effect = self._covariate_effects(values, features, future)
        statistics = WindowStatistics(values - past_effect)
        level = statistics.level[:, None]
        # from the level: float32 weights sum to 1 but for a rounding, which would be that of a
        # level far larger than what the series moves by
        base_forecasts = compute_base_forecasts(statistics, future) - level[..., None]
        encoder_inputs = self._encoder_inputs(statistics, features)
        decoder_inputs = self._decoder_inputs(statistics, features, future, base_forecasts)
        static_inputs = to_float32(statistics.describe())
        medians, offsets = [], []
        for member in self.members:
            weights, correction, offset = member(encoder_inputs, static_inputs, decoder_inputs)
            change = (weights * base_forecasts).sum(-1) + correction * statistics.scale
            medians.append(level + future_effect + change)
            offsets.append(offset)
        return torch.stack(medians), torch.stack(offsets), statistics.scale[:, 0]

    def _covariate_effects(
        self, values: Tensor, features: Tensor, future: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what event and factor add to each day, by one filter for all series.

        Linear in the covariates of the days around it (a planned event also acts before its day).
        The effect is taken off the past before levels are measured, and added to the horizon.

        Returns:
            Effects on the past (batch, window_days) and on the horizon (batch, horizon), in raw
            units.
        """
        causes = self._causes(features, future)  # (batch, 3, window_days + horizon)
        causes = F.pad(causes, (LAGS_AFTER, LAGS_BEFORE))
        by_lag = self.filter.double().permute(0, 2, 1).reshape(2, -1)  # (units, lags * causes)
        response = (_effect_units(values) @ by_lag).reshape(-1, N_LAGS, causes.shape[1]) @ causes
        length = self.window_days + horizon_of(future)
        shifted = [response[:, lag, lag : lag + length] for lag in range(N_LAGS)]
        effect = torch.stack(shifted, 1).sum(1)
        return effect[:, : self.window_days], effect[:, self.window_days :]

    def _causes(self, features: Tensor, future: Tensor) -> Tensor:
        """Return event, factor and absolute factor of past and future days.

        Returns:
            (batch, 3, window_days + horizon), without unit, 0 where unknown.
        """
        past = features[..., COVARIATES].transpose(1, 2)
        past = F.pad(past, (self.window_days, 0), value=torch.nan)[..., -self.window_days :]
        covariates = torch.cat([past, future[..., FUTURE_COVARIATES].transpose(1, 2)], dim=-1)
        factor, event = covariates.split(1, dim=1)
        factor = (factor - self.factor_mean) / self.factor_std
        # an unknown factor is taken to be as in the last four weeks
        recent = factor[..., self.window_days - 28 : self.window_days]
        factor = torch.where(is_observed(factor), factor, mean_observed(recent)[..., None])
        return torch.cat([zero_missing(event), factor, torch.abs(factor)], dim=1)

    def _encoder_inputs(self, statistics: WindowStatistics, features: Tensor) -> Tensor:
        """Return the inputs of the last days of the context.

        Returns:
            (batch, encoder_days, N_ENCODER_INPUTS), float32.
        """
        days = self.config.encoder_days
        recent = features[:, -days:]
        values = [statistics.values[:, -days:], statistics.deseasonalised[:, -days:]]
        values = torch.stack(values, dim=-1)  # (batch, days, 2)
        rolling = recent[..., ROLLING]
        level = statistics.level[:, None, None]
        scaled = torch.cat([values - level, rolling[..., :3] - level, rolling[..., 3:]], dim=-1)
        scaled = scaled / statistics.scale[..., None]
        factor, event = recent[..., COVARIATES].split(1, dim=-1)
        numbers = torch.cat([scaled, self._scale_factor(factor, features)], dim=-1)
        masks = is_observed(torch.cat([values[..., :1], rolling[..., 1:2], factor, event], dim=-1))
        position = torch.arange(-days, 0, device=features.device).double()[:, None] / 100.0
        plain = [recent[..., :4], event, position.expand(features.shape[0], -1, -1)]
        return _join_inputs(numbers, plain, masks)

    def _decoder_inputs(
        self,
        statistics: WindowStatistics,
        features: Tensor,
        future: Tensor,
        base_forecasts: Tensor,
    ) -> Tensor:
        """Return the inputs of each day of the horizon.

        Returns:
            (batch, horizon, N_DECODER_INPUTS), float32.
        """
        horizon = horizon_of(future)
        first = FUTURE.index("last_year")
        last_year, year_level = future[..., first : first + 2], future[..., first + 2 :]
        factor, event = future[..., FUTURE_COVARIATES].split(1, dim=-1)
        scaled = torch.cat([last_year - year_level, base_forecasts], dim=-1)
        scaled = scaled / statistics.scale[..., None]
        numbers = torch.cat([scaled, self._scale_factor(factor, features)], dim=-1)
        sin, cos = future[..., 4:5], future[..., 5:6]  # day of the year
        second_harmonic = [2 * sin * cos, cos * cos - sin * sin]
        step = torch.arange(horizon, device=future.device).double() + 1
        position = torch.stack([step / 28.0, torch.log(step) / 3.0], dim=-1)
        position = position.expand(future.shape[0], -1, -1)
        plain = [future[..., :6], *second_harmonic, event, position]
        masks = is_observed(torch.cat([factor, event, last_year[..., :1]], dim=-1))
        return _join_inputs(numbers, plain, masks)

    def _scale_factor(self, factor: Tensor, features: Tensor) -> Tensor:
        """Return the factor less its mean in training and less its mean in the window.

        Args:
            factor: (batch, n, 1), raw units.

        Returns:
            (batch, n, 2), in standard deviations of the training data.
        """
        window_mean = mean_observed(features[..., FACTOR])[:, None, None]
        centered = [factor - self.factor_mean, factor - window_mean]
        return torch.cat(centered, dim=-1) / self.factor_std


def _effect_units(values: Tensor) -> Tensor:
    """Return what a covariate effect is measured in: (batch, 1, 2), raw units.

    Mean absolute deviation and absolute level of the last eight weeks.
    """
    recent = values[:, -SEASON_DAYS:]
    observed = is_observed(recent)
    recent = torch.where(observed, recent, 0.0)
    center = mean_where(recent, observed)[:, None]
    deviation = torch.abs(torch.where(observed, recent - center, 0.0))
    return torch.stack([mean_where(deviation, observed)[:, None], torch.abs(center)], dim=-1)


def _join_inputs(numbers: Tensor, plain: list[Tensor], masks: Tensor) -> Tensor:
    """Join the inputs of a recurrence as float32; `numbers` of any size go through a signed log."""
    plain_inputs = to_float32(torch.cat(plain, dim=-1))
    return torch.cat([signed_log(to_bounded_float32(numbers)), plain_inputs, masks.float()], -1)
