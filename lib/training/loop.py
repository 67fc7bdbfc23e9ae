"""Fit the forecaster: pinball loss, AdamW, averaged weights, as long as the validation improves.

One thread, the whole panel in memory, windows gathered by index. The same data, settings and seed
give the same bits on the same machine.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib.calibration import PreparedData
from lib.features import Windows
from lib.models import (
    LSTMForecaster,
    ModelConfig,
)
from lib.progress import Progress, report_progress
from lib.training.augmentation import gather_augmented
from lib.training.checkpoint import Checkpoint
from lib.training.config import TrainingConfig, TrainingError
from lib.training.data import Batch
from lib.training.loss import pinball_loss
from lib.training.schedule import Schedule
from lib.training.state import (
    TrainingState,
    initial_state,
    pull_to_pretrained,
    record_evaluation,
    update_average,
)
from lib.training.validation import device_of, evaluate, validation_batch

OnEvaluation = Callable[[int, float, float], None]  # step, training loss, validation loss
PULL_POWER = 3  # between two years of one series, where it helps, and four, where it hurts
BatchTransform = Callable[[Batch], Batch]


@dataclass
class Fit:
    """A trained network and how training went.

    Attributes:
        model: with the weights of the best step.
        config: settings of the fit.
        history: one entry per evaluation.
        validation_loss: lowest of them, in scales.
        best_step: the step it was reached at.
        series_spread: factor of the widths of each series that was calibrated, by name; empty
            before the calibration, and of a panel of one series.
        schedule: that was followed; None without training.
    """

    model: LSTMForecaster
    config: TrainingConfig
    history: list[dict[str, float]]
    validation_loss: float
    best_step: int
    series_spread: dict[str, float] = field(default_factory=dict)
    schedule: Schedule | None = None


def fit(
    data: PreparedData,
    model_config: ModelConfig,
    config: TrainingConfig,
    *,
    checkpoint: Path | None = None,
    on_evaluation: OnEvaluation | None = None,
    transform: BatchTransform | None = None,
    prepare_state: Callable[[TrainingState], None] | None = None,
) -> Fit:
    """Train one forecaster and return it with its best averaged weights.

    Args:
        data: windows to learn from and to stop by.
        model_config: settings of the network.
        config: settings of the fit.
        checkpoint: a folder. The state is saved there at every evaluation, and a fit of the same
            data and settings that was interrupted continues exactly.
        on_evaluation: called with step, training and validation loss; may raise to stop.
        transform: changes each training batch; may draw from torch's generator.
        prepare_state: changes the state before the first step: other weights to start from,
            another schedule, another device. The network is returned on the CPU.

    Raises:
        TrainingError: the loss is not finite; the message names step and windows.
    """
    state = initial_state(data, model_config, config)
    if prepare_state:
        prepare_state(state)
    saved = Checkpoint(checkpoint, data, model_config, config) if checkpoint else None
    if saved:
        saved.resume(state)
    validation = validation_batch(data.validation, model_config, config).to(device_of(state.model))

    while state.step < state.schedule.last_step:
        n_steps = min(config.evaluate_every, state.schedule.last_step - state.step)
        losses = [train_step(state, data, config, transform) for _ in range(n_steps)]
        train_loss = float(np.mean(losses))
        validation_loss = evaluate(state.average, validation, state.step, config)
        record_evaluation(state, train_loss, validation_loss)
        if state.stale >= config.patience:
            state.schedule.begin_decay(state.step)
        if saved:
            saved.save(state)
        if on_evaluation:
            on_evaluation(state.step, train_loss, validation_loss)

    best = copy.deepcopy(state.model).cpu()
    best.load_state_dict(state.best)
    return Fit(
        best.eval(),
        config,
        state.history,
        state.best_loss,
        state.best_step,
        schedule=state.schedule,
    )


def initial_loss(data: PreparedData, model_config: ModelConfig, config: TrainingConfig) -> float:
    """Return the validation loss before the first step of a fit, in scales.

    Args:
        data: as of `fit`, like the settings.
        model_config: settings of the network.
        config: settings of the fit.
    """
    validation = validation_batch(data.validation, model_config, config)
    model = initial_state(data, model_config, config).average
    return evaluate(model, validation, 0, config)


def train_step(
    state: TrainingState,
    data: PreparedData,
    config: TrainingConfig,
    transform: BatchTransform | None = None,
) -> float:
    """Update the weights by one batch and return its loss, in scales.

    All randomness comes from seed and step, so that a resumed fit draws the same.

    Raises:
        TrainingError: the loss or its gradient is not finite.
    """
    windows = data.train
    rng = np.random.default_rng([config.seed, state.step])
    torch.manual_seed(int(rng.integers(2**62)))  # dropout
    index = rng.integers(len(windows.origins), size=config.batch_size)
    days = _draw_context_length(state.model.config, rng)
    batch = gather_augmented(data, index, days, config, rng)
    if transform:
        batch = transform(batch)
    batch = batch.to(device_of(state.model))

    state.model.train()
    median, offsets, scale = state.model.predict_by_member(batch.context, batch.future)
    loss = pinball_loss(median, offsets, scale, batch.targets, _levels(state.model))
    state.optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise TrainingError(_describe_failure(state.step, windows, index, config))

    learning_rate = config.learning_rate * state.schedule.share(state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    strength = (config.prior_windows / len(windows.origins)) ** PULL_POWER
    pull_to_pretrained(state, learning_rate * strength)
    state.step += 1
    update_average(state, config.ema_decay)
    return float(loss.detach())


def progress_bar(config: TrainingConfig, run: Path | None = None) -> OnEvaluation:
    """Return an `on_evaluation` that shows a bar of steps and losses on standard error.

    Args:
        config: of the fit.
        run: the run folder, whose watcher gets a report at each evaluation too.
    """
    bar = tqdm(total=config.steps, desc="training", unit="batch", mininterval=1.0)
    lowest = math.inf

    def show(step: int, train_loss: float, validation_loss: float) -> None:
        nonlocal lowest
        lowest = min(lowest, validation_loss)
        if run:
            report_progress(run, Progress("batches", step, config.steps, loss=lowest))
        bar.update(step - bar.n)
        bar.set_postfix(train=f"{train_loss:.4f}", validation=f"{validation_loss:.4f}")

    return show


def _draw_context_length(shape: ModelConfig, rng: np.random.Generator) -> int:
    """Return the days of the context: half of the batches are shorter than the longest."""
    if rng.random() < 0.5:
        return int(rng.integers(shape.context_length, shape.max_context + 1))
    return shape.max_context


def _levels(model: LSTMForecaster) -> Tensor:
    return torch.tensor(model.config.quantiles, device=device_of(model))


def _describe_failure(
    step: int, windows: Windows, index: np.ndarray, config: TrainingConfig
) -> str:
    panel = windows.panel
    rows = windows.origins[index[:5]]
    series = panel.series_of(rows)
    names = [f"{panel.ids[s]} at {panel.dates[r]}" for s, r in zip(series, rows, strict=True)]
    return (
        f"loss is not finite at step {step}: batch of {len(index)} windows, the first "
        f"{', '.join(names)}; lower the learning rate ({config.learning_rate}) or look "
        "for extreme values there"
    )
