"""The settings of one training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


class TrainingError(RuntimeError):
    """Training cannot go on: no windows, or a loss that is not a number."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one fit. Steps and batches count windows, spans count days."""

    seed: int = 0
    steps: int = 800
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    evaluate_every: int = 50
    patience: int = 6  # evaluations without a better validation loss
    ema: float = 0.98  # weight of the past in the averaged weights
    withhold: float = 0.25  # share of windows trained without known future, and without last year
    changes: float = 0.1  # share of windows whose past is changed (lib.training.augmentation)
    validation_windows: int = 256
    pretrained: bool = (
        True  # start from the network of lib.models.pretrained, where it has this shape
    )

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every", "patience", "validation_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("changes", "withhold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share of 0 to 1, got {getattr(self, name)}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """From JSON. Raises ValueError on a key that is not a setting."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"training settings: unknown {sorted(unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)
