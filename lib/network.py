"""The recurrent part: an encoder over the days, a decoder over the horizon, and the settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.features import MAX_HORIZON
from lib.season import N_REFERENCES, SEASON_DAYS

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
N_ENCODER = 6 + 2 + 4 + 3 + 2 + 1
N_DECODER = 8 + 3 + 2 + 3 + 2 + N_REFERENCES
N_STATIC = 4


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network. `horizon`, `context_length` and `max_context` are in days.

    `context_length` is the shortest context that is served, `max_context` the longest. `members`
    networks of this shape are trained side by side and averaged.
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
    members: int = 1

    def __post_init__(self) -> None:
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"cell: expected 'lstm' or 'gru', got {self.cell!r}")
        if self.members < 1:
            raise ValueError(f"members: expected at least 1, got {self.members}")
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
        self.head = nn.Linear(2 * config.decoder_hidden, N_REFERENCES + levels)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[N_REFERENCES + 1 :] = -0.5
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
        weights = torch.softmax(out[..., :N_REFERENCES], dim=-1).double()
        steps = F.softplus(out[..., N_REFERENCES + 1 :])
        return weights, out[..., N_REFERENCES].double(), steps.double() @ self.stairs

    def _encode(self, days: Tensor) -> Tensor:
        outputs, _ = self.encoder(days)  # (batch, days, width)
        if self.attention is not None:
            encoded = (torch.softmax(self.attention(outputs), dim=1) * outputs).sum(1)
        else:
            encoded = outputs[:, -1]
        return self.norm(encoded) if self.norm is not None else encoded
