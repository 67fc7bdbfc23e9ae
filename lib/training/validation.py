"""The validation loss of a network, which stops a fit and chooses between settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from lib.features import Windows
from lib.models import LSTMForecaster, ModelConfig
from lib.training.config import TrainingConfig, TrainingError
from lib.training.data import Batch, batch_of
from lib.training.loss import pinball_loss


@dataclass(frozen=True)
class WindowLosses:
    """Losses of single validation windows, with what they depend on each other by.

    Attributes:
        loss: (n,) mean pinball loss of each window, in scales.
        series: (n,) number of its series.
        block: (n,) number of its block of days; a block is as long as the horizon.
    """

    loss: np.ndarray
    series: np.ndarray
    block: np.ndarray


def choose_windows(windows: Windows, config: TrainingConfig) -> np.ndarray:
    """Return the numbers of evenly spaced windows, at most `validation_windows` of them."""
    count = len(windows.origins)
    return np.unique(np.linspace(0, count - 1, min(count, config.validation_windows)).astype(int))


def validation_batch(windows: Windows, shape: ModelConfig, config: TrainingConfig) -> Batch:
    """Return the validation windows that are evaluated."""
    return batch_of(windows, choose_windows(windows, config), shape.max_context)


def evaluate(model: LSTMForecaster, batch: Batch, step: int, config: TrainingConfig) -> float:
    """Return the validation loss of a network, in scales.

    Raises:
        TrainingError: it is not finite.
    """
    model.eval()
    levels = torch.tensor(model.config.quantiles, device=device_of(model))
    with torch.no_grad():
        median, offsets, scale = model.predict_distribution(batch.context, batch.future)
        loss = float(pinball_loss(median, offsets, scale, batch.targets, levels))
    if not math.isfinite(loss):
        raise TrainingError(
            f"validation loss is not finite at step {step}; lower the learning rate "
            f"({config.learning_rate})"
        )
    return loss


def device_of(model: LSTMForecaster) -> torch.device:
    """Return where the weights of a network are."""
    return model.floor.device


def losses_by_window(
    model: LSTMForecaster, windows: Windows, config: TrainingConfig
) -> WindowLosses:
    """Return the validation loss of each window that is evaluated."""
    index = choose_windows(windows, config)
    batch = batch_of(windows, index, model.config.max_context)
    levels = torch.tensor(model.config.quantiles)
    model.eval()
    with torch.no_grad():
        median, offsets, scale = model.predict_distribution(batch.context, batch.future)
        losses = [
            float(pinball_loss(*(part[i : i + 1] for part in parts), levels))
            for parts in [(median, offsets, scale, batch.targets)]
            for i in range(len(index))
        ]
    rows = windows.origins[index]
    days = (windows.panel.dates[rows] - windows.panel.dates[rows].min()).astype(np.int64)
    return WindowLosses(np.array(losses), windows.panel.series_of(rows), days // windows.horizon)
