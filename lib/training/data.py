"""What a fit is given: its settings, and the windows it learns from and is stopped by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib import features as ft
from lib import models
from lib.data import MIN_HISTORY_DAYS, DataSplit, Panel
from lib.models import ModelConfig
from lib.training.config import TrainingError

SOURCES = (
    "data/calendar",
    "data/panel",
    "features/engineering",
    "features/windows",
    "models/config",
    "models/window_statistics",
    "models/encoder_decoder",
    "models/lstm",
    "training/config",
    "training/data",
    "training/augmentation",
    "training/loss",
    "training/loop",
)


@dataclass(frozen=True)
class Data:
    """Windows to learn from and to stop by; no target of the first is a target of the second."""

    train: ft.Windows
    validation: ft.Windows
    factor_mean: float
    factor_std: float
    nonnegative: bool


def prepare(panel: Panel, split: DataSplit, config: ModelConfig) -> Data:
    """Cut the windows of a panel by its spans; what is fitted is fitted on the training span.

    Raises:
        TrainingError: a span holds no window.
    """
    features = ft.compute_features(panel)
    history = min(config.context_length, MIN_HISTORY_DAYS)
    train = ft.index_windows(
        panel, features, config.horizon, until=split.train_end, min_history=history
    )
    validation = ft.index_windows(
        panel,
        features,
        config.horizon,
        after=split.train_end,
        until=split.validation_end,
        min_history=history,
    )
    for name, found in (("training", train), ("validation", validation)):
        if len(found.origins) == 0:
            raise TrainingError(
                f"no {name} window: a series needs {history} days before a cutoff and "
                f"{config.horizon} after it inside the {name} span; give more days or a "
                "shorter HORIZON"
            )
    past = panel.dates <= split.train_end
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
    sources = (Path(__file__).parents[1] / f"{name}.py" for name in SOURCES)
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    parts.append(models.digest())
    return hashlib.sha256(" ".join([torch.__version__, *parts]).encode()).hexdigest()


def batch_of(windows: ft.Windows, index: np.ndarray, days: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors of windows: features (n, days, 11), future (n, horizon, k), targets (n, horizon)."""
    return (
        torch.from_numpy(windows.context(index, days)),
        torch.from_numpy(windows.known_future(index)),
        torch.from_numpy(windows.targets(index)),
    )
