"""What a fit is given: its settings, and the windows it learns from and is stopped by."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib import features as ft
from lib import pretrained
from lib.model import ModelConfig
from lib.panel import MIN_HISTORY_DAYS, Panel, Spans

SOURCES = ("features", "season", "network", "model", "training", "augmentation", "fitting")


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
    changes: float = 0.1  # share of windows whose past is changed (lib.augmentation)
    validation_windows: int = 256
    pretrained: bool = True  # start from the network of lib.pretrained, where it has this shape

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


@dataclass(frozen=True)
class Data:
    """Windows to learn from and to stop by; no target of the first is a target of the second."""

    train: ft.Windows
    validation: ft.Windows
    factor_mean: float
    factor_std: float
    nonnegative: bool


def prepare(panel: Panel, spans: Spans, config: ModelConfig) -> Data:
    """Cut the windows of a panel by its spans; what is fitted is fitted on the training span.

    Raises:
        TrainingError: a span holds no window.
    """
    features = ft.compute(panel)
    history = min(config.context_length, MIN_HISTORY_DAYS)
    train = ft.windows(panel, features, config.horizon, until=spans.train_end, min_history=history)
    validation = ft.windows(
        panel,
        features,
        config.horizon,
        after=spans.train_end,
        until=spans.validation_end,
        min_history=history,
    )
    for name, found in (("training", train), ("validation", validation)):
        if len(found.ends) == 0:
            raise TrainingError(
                f"no {name} window: a series needs {history} days before a cutoff and "
                f"{config.horizon} after it inside the {name} span; give more days or a "
                "shorter HORIZON"
            )
    past = panel.dates <= spans.train_end
    factor = panel.factor[past & np.isfinite(panel.factor)]
    values = panel.values[past & np.isfinite(panel.values)]
    return Data(
        train=train,
        validation=validation,
        factor_mean=float(factor.mean()) if len(factor) else 0.0,
        factor_std=_unit(factor),
        nonnegative=bool((values >= 0).all()),
    )


def _unit(factor: np.ndarray) -> float:
    """Standard deviation; 1 for a constant, whose rounding would otherwise be the unit."""
    std = float(factor.std()) if len(factor) else 0.0
    return std if std > 1e-9 * float(np.abs(factor).max(initial=0.0)) else 1.0


def code_hash() -> str:
    """SHA-256 of the sources that decide what a fit finds."""
    sources = (Path(__file__).with_name(f"{name}.py") for name in SOURCES)
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    parts.append(pretrained.digest())
    return hashlib.sha256(" ".join([torch.__version__, *parts]).encode()).hexdigest()


def batch_of(windows: ft.Windows, index: np.ndarray, days: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors of windows: features (n, days, 11), future (n, horizon, k), targets (n, horizon)."""
    return (
        torch.from_numpy(windows.context(index, days)),
        torch.from_numpy(windows.future(index)),
        torch.from_numpy(windows.targets(index)),
    )
