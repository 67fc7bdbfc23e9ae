"""The configuration of the network, and the quantile levels it forecasts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from lib.features import MAX_HORIZON
from lib.models.window_statistics import SEASON_DAYS

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


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
