"""The LSTM forecaster: one function of (features, future) to ordered quantiles in raw units.

A hybrid of exponential smoothing and a recurrent network, after ES-RNN (Smyl 2020): fixed,
parameter-free references (levels of several half-lives on a deseasonalised window, weekday
medians, a trend, last year's shape) are computed inside the graph from the window alone; an LSTM
encoder over the days and an LSTM decoder over the horizon choose how to mix them, what to add,
and how wide the distribution is. Everything is scaled by the window itself, so a trend or a
change of level outside the training range is nothing new to the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.features import FEATURES, FUTURE, MAX_HORIZON
from lib.season import (
    N_REFERENCES,
    SEASON_DAYS,
    Season,
    bounded,
    filled,
    finite_or_zero,
    masked_mean,
    mean_of,
    padded,
    present,
    series_values,
    squash,
)

EFFECT_LAGS = (2, 3)  # days before and after an event or a factor on which it may act
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Columns: slices where they lie together, which the graph takes in one operation.
CAUSES = slice(FEATURES.index("fator_externo"), FEATURES.index("evento_especial") + 1)
CAUSES_AHEAD = slice(FUTURE.index("fator_externo"), FUTURE.index("evento_especial") + 1)
ROLLING = [
    FEATURES.index(name) for name in ("media_movel_7", "media_movel_30", "lag_7", "desvio_movel_7")
]


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network. `horizon`, `context_length` and `max_context` are in days.

    `context_length` is the shortest context that is served, `max_context` the longest.
    """

    horizon: int = 28
    context_length: int = 60
    max_context: int = 175
    quantiles: tuple[float, ...] = QUANTILES
    encoder_days: int = 56
    cell: str = "lstm"
    hidden: int = 48
    layers: int = 1
    bidirectional: bool = False
    attention: bool = False
    layer_norm: bool = False
    dropout: float = 0.2
    decoder_hidden: int = 24

    def __post_init__(self) -> None:
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"cell: expected 'lstm' or 'gru', got {self.cell!r}")
        if not 1 <= self.horizon <= MAX_HORIZON:
            raise ValueError(f"horizon: expected 1 to {MAX_HORIZON} days, got {self.horizon}")
        if not SEASON_DAYS <= self.context_length <= self.max_context <= 180:
            raise ValueError(
                f"context_length, max_context: expected {SEASON_DAYS} <= context_length <= "
                f"max_context <= 180 days, got {self.context_length} and {self.max_context}"
            )
        if not 7 <= self.encoder_days <= self.context_length:
            raise ValueError(
                f"encoder_days: expected 7 to context_length ({self.context_length}) days, "
                f"got {self.encoder_days}"
            )
        rising = list(self.quantiles) == sorted(set(self.quantiles))
        if not (
            rising and 0.5 in self.quantiles and 0 < min(self.quantiles) <= max(self.quantiles) < 1
        ):
            raise ValueError(
                "quantiles: expected rising levels between 0 and 1 with 0.5 among them, got "
                f"{self.quantiles}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """From JSON. Raises ValueError on a key that is not a setting."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"model settings: unknown {sorted(unknown)}")
        values = dict(values)
        if "quantiles" in values:
            values["quantiles"] = tuple(values["quantiles"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)


class LSTMForecaster(nn.Module):
    """Quantile forecasts of the days that follow a window of the eleven features."""

    factor_mean: Tensor
    factor_std: Tensor
    floor: Tensor
    spread: Tensor
    stairs: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.quantiles)
        self.median = config.quantiles.index(0.5)
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        dropout = config.dropout if config.layers > 1 else 0.0
        self.encoder = cell(
            N_ENCODER,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=dropout,
        )
        width = config.hidden * (2 if config.bidirectional else 1)
        self.attention = nn.Linear(width, 1) if config.attention else None
        self.norm = nn.LayerNorm(width) if config.layer_norm else None
        self.summary = nn.Linear(width + N_STATIC, config.decoder_hidden)
        self.decoder = nn.LSTM(
            config.decoder_hidden + N_DECODER,
            config.decoder_hidden,
            batch_first=True,
            bidirectional=True,
        )
        self.drop = nn.Dropout(config.dropout)
        # per day: a logit per reference, the deviation, a width per quantile step
        self.head = nn.Linear(2 * config.decoder_hidden, N_REFERENCES + levels)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[N_REFERENCES + 1 :] = -0.5
        self.days = (config.max_context + 7) // 7 * 7  # of values: whole weeks
        self.filter = nn.Parameter(torch.zeros(2, 3, sum(EFFECT_LAGS) + 1))
        # offsets of the quantiles from the median, of the steps between neighbours
        above = torch.arange(levels)[None] > torch.arange(levels - 1)[:, None]
        stairs = above.double() - (torch.arange(levels - 1) < self.median)[:, None].double()
        self.register_buffer("stairs", stairs, persistent=False)
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
        median, offsets, scale, _ = self.distribution(features, future)
        quantiles = median[..., None] + offsets * self.spread * scale[:, None, None]
        return torch.maximum(quantiles, self.floor)

    def distribution(
        self, features: Tensor, future: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Median (raw), offsets of the quantiles from it and deviation (in scales), and scale."""
        values = padded(series_values(features), self.days)
        past, ahead = self._covariate_effect(values, features, future)
        season = Season(values - past)
        references = season.references(future)  # (batch, horizon, references)
        encoded = self._encode(season, features)
        decoded = self._decode(season, encoded, features, future, references)
        out = self.head(self.drop(decoded))
        weights = torch.softmax(out[..., :N_REFERENCES], dim=-1).double()
        deviation = out[..., N_REFERENCES].double()
        median = (weights * references).sum(-1) + ahead + deviation * season.scale
        steps = F.softplus(out[..., N_REFERENCES + 1 :])
        offsets = steps.double() @ self.stairs
        return median, offsets, season.scale[:, 0], deviation

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
        length = self.days + self.config.horizon
        effect = torch.stack([moved[:, lag, lag : lag + length] for lag in range(lags)], 1).sum(1)
        return effect[:, : self.days], effect[:, self.days :]

    def _encode(self, season: Season, features: Tensor) -> Tensor:
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
        inputs = [squash(bounded(numbers)), filled(torch.cat(rest, dim=-1)), masks.float()]
        outputs, _ = self.encoder(torch.cat(inputs, dim=-1))  # (batch, days, width)
        if self.attention is not None:
            encoded = (torch.softmax(self.attention(outputs), dim=1) * outputs).sum(1)
        else:
            encoded = outputs[:, -1]
        return self.norm(encoded) if self.norm is not None else encoded

    def _decode(
        self, season: Season, encoded: Tensor, features: Tensor, future: Tensor, references: Tensor
    ) -> Tensor:
        horizon = self.config.horizon
        level, scale = season.level[:, None, None], season.scale[..., None]
        first = FUTURE.index("last_year")
        last_year, middle = future[..., first : first + 2], future[..., first + 2 :]
        factor, event = future[..., CAUSES_AHEAD].split(1, dim=-1)
        scaled = torch.cat([last_year - middle, references - level], dim=-1) / scale
        numbers = torch.cat([scaled, self._factor(factor, features)], dim=-1)
        sin, cos = future[..., 4:5], future[..., 5:6]
        step = torch.arange(1, horizon + 1, device=future.device).double()
        ahead = torch.stack([step / 28.0, torch.log(step) / 3.0], dim=-1)
        ahead = ahead.expand(future.shape[0], -1, -1)
        rest = [future[..., :6], 2 * sin * cos, cos * cos - sin * sin, event, ahead]
        masks = present(torch.cat([factor, event, last_year[..., :1]], dim=-1))
        static = filled(season.static())
        summary = torch.tanh(self.summary(self.drop(torch.cat([encoded, static], dim=-1))))
        inputs = [
            summary[:, None].expand(-1, horizon, -1),
            squash(bounded(numbers)),
            filled(torch.cat(rest, dim=-1)),
            masks.float(),
        ]
        decoded, _ = self.decoder(torch.cat(inputs, dim=-1))
        return decoded

    def _factor(self, factor: Tensor, features: Tensor) -> Tensor:
        """The factor (…, 1) from its mean in training and in the window, in units of training."""
        mean = masked_mean(features[..., FEATURES.index("fator_externo")])[:, None, None]
        return torch.cat([factor - self.factor_mean, factor - mean], dim=-1) / self.factor_std


N_ENCODER = 6 + 2 + 4 + 3 + 2 + 1
N_DECODER = 8 + 3 + 2 + 3 + 2 + N_REFERENCES
N_STATIC = 4
