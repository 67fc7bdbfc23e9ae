"""The settings of one fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

# Names that saved settings may have, and what they are called now.
FORMER_NAMES = {
    "batch": "batch_size",
    "changes": "level_shift_prob",
    "clip": "clip_norm",
    "ema": "ema_decay",
    "withhold": "covariate_dropout",
}


class TrainingError(RuntimeError):
    """Training cannot go on: there are no windows, or the loss is not finite."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one fit.

    Attributes:
        seed: of initial weights, batches, augmentation and dropout.
        steps: batches at most; the validation loss may end a fit earlier.
        batch_size: windows of one step.
        learning_rate: peak of the schedule.
        weight_decay: of AdamW.
        clip_norm: largest norm of the gradient.
        evaluate_every: steps between two evaluations of the validation loss.
        patience: evaluations without a better loss before the learning rate decays.
        ema_decay: weight of the past in the exponential moving average of the weights.
        covariate_dropout: share of windows trained without the known future, and separately
            without last year.
        level_shift_prob: share of windows whose past is given another level.
        validation_windows: windows of an evaluation, at most.
        pretrained: whether to start from the pretrained network, where it has this shape.
        prior_windows: number of training windows at which the pull towards the pretrained weights
            has strength 1. It falls with their third power: a short series cannot move the
            network far, a long one hardly feels it. Of several members the first is not
            pulled and the last is most. 0 is no pull.

    Raises:
        ValueError: a setting is out of range; the message names it.

    Examples:
        >>> TrainingConfig(steps=100).learning_rate
        0.006
        >>> TrainingConfig.from_dict({"withhold": 0.5}).covariate_dropout
        0.5
    """

    seed: int = 0
    steps: int = 2500
    batch_size: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    evaluate_every: int = 50
    patience: int = 3
    ema_decay: float = 0.98
    covariate_dropout: float = 0.25
    level_shift_prob: float = 0.1
    validation_windows: int = 256
    pretrained: bool = True
    prior_windows: float = 850.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every", "patience", "validation_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.prior_windows < math.inf:
            raise ValueError(f"prior_windows: expected 0 or more, got {self.prior_windows}")
        for name in ("level_shift_prob", "covariate_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share of 0 to 1, got {getattr(self, name)}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Read settings from their JSON form, under their present or former names.

        Raises:
            ValueError: a key is not a setting.
        """
        values = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"training settings: unknown {sorted(unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in a form for JSON, which `from_dict` reads."""
        return asdict(self)
