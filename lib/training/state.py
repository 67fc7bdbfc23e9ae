"""The state of a fit between two steps: all that a resumed fit needs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib import models
from lib.models import LSTMForecaster, ModelConfig
from lib.training.config import TrainingConfig
from lib.training.data import TrainingData


@dataclass
class TrainingState:
    """Networks, optimizer and progress of a fit.

    Attributes:
        model: the network that is trained.
        average: the same with exponentially averaged weights, which is evaluated.
        optimizer: of the weights of `model`.
        step: batches so far.
        stale: evaluations since the best.
        best_loss: lowest validation loss, in scales.
        best_step: the step it was reached at.
        best: state dict of `average` at that step.
        history: step, training and validation loss of each evaluation.
    """

    model: LSTMForecaster
    average: LSTMForecaster
    optimizer: torch.optim.AdamW
    step: int = 0
    stale: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def initial_state(
    data: TrainingData, model_config: ModelConfig, config: TrainingConfig
) -> TrainingState:
    """Return the state before the first step: pretrained weights, or random ones by the seed."""
    torch.manual_seed(config.seed)
    model = LSTMForecaster(model_config)
    if config.pretrained and models.has_pretrained(model_config):
        models.load_pretrained(model)
    model.factor_mean.fill_(data.factor_mean)
    model.factor_std.fill_(data.factor_std)
    if data.nonnegative:
        model.floor.fill_(0.0)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return TrainingState(model, copy.deepcopy(model), optimizer)


def update_average(state: TrainingState, decay: float) -> None:
    """Move the averaged weights towards those of the last step.

    Args:
        state: of the fit, changed in place.
        decay: weight of the past once the average is warm.
    """
    # a short memory at first, or the average drags the initial weights along
    keep = min(decay, state.step / (state.step + 10))
    with torch.no_grad():
        pairs = zip(state.average.parameters(), state.model.parameters(), strict=True)
        for mean, value in pairs:
            mean.lerp_(value, 1 - keep)


def record_evaluation(state: TrainingState, train_loss: float, validation_loss: float) -> None:
    """Add an evaluation to the history, and keep the averaged weights if they are the best."""
    losses = {"train_loss": train_loss, "validation_loss": validation_loss}
    state.history.append({"step": state.step, **losses})
    if validation_loss < state.best_loss:
        state.best_loss, state.best_step, state.stale = validation_loss, state.step, 0
        state.best = {name: value.clone() for name, value in state.average.state_dict().items()}
    else:
        state.stale += 1
