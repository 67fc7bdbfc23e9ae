"""The recurrent network: an encoder over the context, a decoder over the horizon."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.models.base_forecasts import N_BASE_FORECASTS
from lib.models.config import ModelConfig
from lib.models.masked import horizon_of

# Inputs of a day: numbers, then calendar, event and position, then masks.
N_ENCODER_INPUTS = (6 + 2) + (4 + 1 + 1) + 4
N_DECODER_INPUTS = (2 + N_BASE_FORECASTS + 2) + (6 + 2 + 1 + 2) + 3
N_STATIC_INPUTS = 4


class EncoderDecoder(nn.Module):
    """Turn a window into weights of the base forecasts, a correction and quantile offsets.

    One LSTM (or GRU) reads the days of the context into a summary; a bidirectional LSTM reads
    that summary beside the inputs of each day of the horizon.
    """

    increments_to_offsets: Tensor  # (quantiles - 1, quantiles)

    def __init__(self, config: ModelConfig) -> None:
        """Initialise the weights at random; the head starts near zero."""
        super().__init__()
        levels = len(config.quantiles)
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.encoder = cell(
            N_ENCODER_INPUTS,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        width = config.hidden * (2 if config.bidirectional else 1)
        self.attention = nn.Linear(width, 1) if config.attention else None
        self.norm = nn.LayerNorm(width) if config.layer_norm else None
        self.summary = nn.Linear(width + N_STATIC_INPUTS, config.decoder_hidden)
        self.decoder = nn.LSTM(
            config.decoder_hidden + N_DECODER_INPUTS,
            config.decoder_hidden,
            batch_first=True,
            bidirectional=True,
        )
        self.drop = nn.Dropout(config.dropout)
        # per day: a logit per base forecast, the correction, an increment between quantiles
        self.head = nn.Linear(2 * config.decoder_hidden, N_BASE_FORECASTS + levels)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[N_BASE_FORECASTS + 1 :] = -0.5
        matrix = _increments_to_offsets(levels, median=config.quantiles.index(0.5))
        self.register_buffer("increments_to_offsets", matrix, persistent=False)

    def forward(
        self, encoder_inputs: Tensor, static_inputs: Tensor, decoder_inputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return how to forecast each day of the horizon, in float64.

        Args:
            encoder_inputs: (batch, days, N_ENCODER_INPUTS), float32.
            static_inputs: (batch, N_STATIC_INPUTS), float32.
            decoder_inputs: (batch, horizon, N_DECODER_INPUTS), float32.

        Returns:
            Weights of the base forecasts (batch, horizon, N_BASE_FORECASTS), which sum to 1; the
            correction of their mean (batch, horizon) and the offsets of the quantiles from the
            median (batch, horizon, quantiles), both in scales of the window.
        """
        encoded = torch.cat([self._encode(encoder_inputs), static_inputs], -1)
        summary = torch.tanh(self.summary(self.drop(encoded)))  # (batch, decoder_hidden)
        summary = summary[:, None].expand(-1, horizon_of(decoder_inputs), -1)
        decoded, _ = self.decoder(torch.cat([summary, decoder_inputs], dim=-1))
        out = self.head(self.drop(decoded))  # (batch, horizon, N_BASE_FORECASTS + quantiles)
        weights = torch.softmax(out[..., :N_BASE_FORECASTS], dim=-1).double()
        correction = out[..., N_BASE_FORECASTS].double()
        increments = F.softplus(out[..., N_BASE_FORECASTS + 1 :]).double()
        return weights, correction, increments @ self.increments_to_offsets

    def _encode(self, encoder_inputs: Tensor) -> Tensor:
        """Read the days of the context: (batch, days, inputs) to (batch, width)."""
        outputs, _ = self.encoder(encoder_inputs)  # (batch, days, width)
        if self.attention is not None:
            encoded = (torch.softmax(self.attention(outputs), dim=1) * outputs).sum(1)
        else:
            encoded = outputs[:, -1]
        return self.norm(encoded) if self.norm is not None else encoded


def _increments_to_offsets(levels: int, median: int) -> Tensor:
    """Return the matrix that adds increments between neighbouring quantiles up from the median.

    Positive increments give offsets that rise along the levels, 0 at the median.

    Returns:
        (levels - 1, levels), float64, of -1, 0 and 1.
    """
    above = torch.arange(levels)[None] > torch.arange(levels - 1)[:, None]
    below_median = torch.arange(levels - 1) < median
    return above.double() - below_median[:, None].double()
