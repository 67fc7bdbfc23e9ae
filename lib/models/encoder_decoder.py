"""The recurrent part: an encoder over the days, a decoder over the horizon, and the settings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.models.config import ModelConfig
from lib.models.window_statistics import N_BASE_FORECASTS

N_ENCODER = 6 + 2 + 4 + 3 + 2 + 1
N_DECODER = 8 + 3 + 2 + 3 + 2 + N_BASE_FORECASTS
N_STATIC = 4


class Network(nn.Module):
    """One LSTM over the days and one over the horizon, to weights, deviations and widths."""

    stairs: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        levels = len(config.quantiles)
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.encoder = cell(
            N_ENCODER,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
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
        self.head = nn.Linear(2 * config.decoder_hidden, N_BASE_FORECASTS + levels)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[N_BASE_FORECASTS + 1 :] = -0.5
        # offsets of the quantiles from the median, of the steps between neighbours
        above = torch.arange(levels)[None] > torch.arange(levels - 1)[:, None]
        below = torch.arange(levels - 1) < config.quantiles.index(0.5)
        stairs = above.double() - below[:, None].double()
        self.register_buffer("stairs", stairs, persistent=False)

    def forward(self, days: Tensor, static: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How to forecast each day of the horizon.

        Args:
            days: (batch, days, N_ENCODER). static: (batch, N_STATIC).
            ahead: (batch, horizon, N_DECODER).
        Returns:
            Weights of the references (batch, horizon, N_REFERENCES), which sum to 1; deviation
            from them (batch, horizon) and offsets of the quantiles from the median (batch,
            horizon, quantiles), both in scales of the window. All float64.
        """
        summary = torch.tanh(self.summary(self.drop(torch.cat([self._encode(days), static], -1))))
        summary = summary[:, None].expand(-1, int(ahead.shape[1]), -1)
        decoded, _ = self.decoder(torch.cat([summary, ahead], dim=-1))
        out = self.head(self.drop(decoded))
        weights = torch.softmax(out[..., :N_BASE_FORECASTS], dim=-1).double()
        steps = F.softplus(out[..., N_BASE_FORECASTS + 1 :])
        return weights, out[..., N_BASE_FORECASTS].double(), steps.double() @ self.stairs

    def _encode(self, days: Tensor) -> Tensor:
        outputs, _ = self.encoder(days)  # (batch, days, width)
        if self.attention is not None:
            encoded = (torch.softmax(self.attention(outputs), dim=1) * outputs).sum(1)
        else:
            encoded = outputs[:, -1]
        return self.norm(encoded) if self.norm is not None else encoded
