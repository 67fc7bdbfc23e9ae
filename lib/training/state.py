"""The state of a fit between two steps: all that a resumed fit needs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib import models
from lib.calibration import PreparedData
from lib.models import LSTMForecaster, ModelConfig
from lib.training.config import TrainingConfig
from lib.training.schedule import Schedule

FEW_WINDOWS = 500  # between two years of one series, where it helps, and three, where it hurts


@dataclass
class TrainingState:
    """Networks, optimizer and progress of a fit.

    Attributes:
        model: the network that is trained.
        average: the same with exponentially averaged weights, which is evaluated.
        optimizer: of the weights of `model`.
        schedule: learning rate and length, which the validation loss may shorten.
        pretrained: parameters of `model`, the pretrained weights that each is pulled to, and how
            strongly, 0 to 1.
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
    schedule: Schedule
    pretrained: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)
    step: int = 0
    stale: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def initial_state(
    data: PreparedData, model_config: ModelConfig, config: TrainingConfig
) -> TrainingState:
    """Return the state before the first step: pretrained weights, or random ones by the seed."""
    torch.manual_seed(config.seed)
    model = LSTMForecaster(model_config)
    pretrained: list[tuple[Tensor, Tensor, float]] = []
    if config.pretrained and models.has_pretrained(model_config):
        models.load_pretrained(model)
        if _keeps_untrained_member(data, model_config.members):
            models.load_pretrained(model, models.ZERO_SHOT_FOLDER, member=model_config.members - 1)
            model.members[-1].requires_grad_(False)
        # without the filter: what a covariate does is particular to the data
        pretrained = [
            (parameter, parameter.detach().clone(), _relative_pull(number, model_config.members))
            for number, member in enumerate(model.members)
            for parameter in member.parameters()
            if parameter.requires_grad
        ]
    model.factor_mean.fill_(data.factor_mean)
    model.factor_std.fill_(data.factor_std)
    if data.nonnegative:
        model.floor.fill_(0.0)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = Schedule.up_to(config.steps)
    return TrainingState(model, copy.deepcopy(model), optimizer, schedule, pretrained)


def _keeps_untrained_member(data: PreparedData, members: int) -> bool:
    """Tell whether the last of several members is the zero-shot network, untrained.

    The effects of covariates are learned on the training days, so what is left of them there is
    less than on any later day. In a short series that misleads the training, and the few
    validation days do not show it.
    """
    return data.has_covariates and len(data.train.origins) < FEW_WINDOWS and members > 1


def pull_to_pretrained(state: TrainingState, share: float) -> None:
    """Move the weights towards the pretrained ones (L2-SP, Li et al. 2018).

    Decoupled from the gradient, as the weight decay of AdamW is.

    Args:
        state: of the fit, changed in place; one that started at random stays as it is.
        share: of the way to the pretrained weights, for the member that is pulled most.
    """
    with torch.no_grad():
        for parameter, weights, relative_pull in state.pretrained if share else ():
            parameter.lerp_(weights, min(relative_pull * share, 1.0))


def _relative_pull(number: int, members: int) -> float:
    """Return the pull on a member: none on the first, all of it on the last.

    How far a short series should move the network, its own validation cannot tell. The average
    of members that moved far and little is never far from the better of them (Wenzel et al.
    2020, hyperparameter ensembles).
    """
    return number / (members - 1) if members > 1 else 1.0


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
