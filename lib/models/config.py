"""The configuration of the network and the quantile levels it forecasts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from lib.features import MAX_HORIZON
from lib.models.window_statistics import SEASON_DAYS

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True)
class ModelConfig:
    """Settings of the network.

    Attributes:
        horizon: days ahead that are forecast.
        context_length: days of the shortest context that is served.
        max_context: days of the longest context that is used.
        quantiles: rising levels, 0.5 among them.
        encoder_days: days of the context that the encoder reads.
        cell: "lstm" or "gru", of the encoder.
        hidden: units of the encoder.
        layers: layers of the encoder.
        bidirectional: whether the encoder reads in both directions.
        attention: whether the context is summed up by attention instead of its last state.
        layer_norm: whether that summary is normalised.
        dropout: share of units dropped while training.
        decoder_hidden: units of the decoder, in each direction.
        members: networks of this shape that are trained side by side and averaged.

    Raises:
        ValueError: a setting is out of range; the message names it.

    Examples:
        >>> config = ModelConfig(horizon=14)
        >>> ModelConfig.from_dict(config.to_dict()) == config
        True
        >>> ModelConfig(cell="rnn")
        Traceback (most recent call last):
        ...
        ValueError: cell: expected 'lstm' or 'gru', got 'rnn'
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
        levels = self.quantiles
        rising = list(levels) == sorted(set(levels))
        if not (rising and 0.5 in levels and 0 < min(levels) <= max(levels) < 1):
            raise ValueError(
                "quantiles: expected rising levels between 0 and 1 with 0.5 among them, got "
                f"{self.quantiles}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Read settings from their JSON form.

        Raises:
            ValueError: a key is not a setting.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"model settings: unknown {sorted(unknown)}")
        values = dict(values)
        if "quantiles" in values:
            values["quantiles"] = tuple(values["quantiles"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in a form for JSON, which `from_dict` reads."""
        return asdict(self)
