"""Fit the forecaster: pinball loss, AdamW, one-cycle schedule, averaged weights, early stopping.

One thread, whole panel in memory, windows gathered by index. The same data, settings and seed
give the same bits on the same machine.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from lib import models
from lib.data import fingerprint
from lib.models import LSTMForecaster, ModelConfig
from lib.training.augmentation import batch_with_changes, drop_covariates
from lib.training.config import TrainingConfig, TrainingError
from lib.training.data import Data, batch_of, code_hash
from lib.training.loss import pinball_loss

log = structlog.get_logger()


@dataclass
class Fit:
    """A trained network and how it got there. `history` has one entry per evaluation."""

    model: LSTMForecaster
    config: TrainingConfig
    history: list[dict[str, float]]
    validation_loss: float
    best_step: int


class SingleProcess:
    """One process computes the whole batch; `lib.training.distributed` has the one of several."""

    leads = True

    def by_member(self, model: LSTMForecaster) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
        """What computes a batch of the training."""
        return model.by_member

    def share(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """The rows of a batch that this process computes."""
        return batch

    def mean(self, number: Tensor) -> Tensor:
        """The mean of a number over the processes."""
        return number


def fit(
    data: Data,
    model_config: ModelConfig,
    config: TrainingConfig,
    *,
    checkpoint: Path | None = None,
    on_evaluation: Callable[[int, float, float], None] | None = None,
    team: SingleProcess | None = None,
) -> Fit:
    """Train one forecaster and return it with its best averaged weights.

    Args:
        checkpoint: a folder; state is saved there at every evaluation and a fit that finds one
            of the same settings goes on from it exactly.
        on_evaluation: called with (step, training loss, validation loss); may raise to stop.
        team: the processes that share each batch (default: this one alone).

    Raises:
        TrainingError: the loss is not finite (names step and windows).
    """
    run = Trainer(data, model_config, config, team or SingleProcess())
    if checkpoint is not None:
        run.resume(checkpoint)
    while run.step < config.steps and run.stale < config.patience:
        train_loss = np.mean([run.train_step() for _ in range(_until_next(run.step, config))])
        loss = run.evaluate(float(train_loss))
        if checkpoint is not None and run.team.leads:
            run.save(checkpoint)
        if on_evaluation is not None:
            on_evaluation(run.step, float(train_loss), loss)
    return run.finish()


def progress_bar(config: TrainingConfig) -> Callable[[int, float, float], None]:
    """An `on_evaluation` that shows steps and the validation loss as a bar on standard error."""
    bar = tqdm(total=config.steps, desc="training", unit="batch", mininterval=1.0)

    def show(step: int, train_loss: float, validation_loss: float) -> None:
        bar.update(step - bar.n)
        bar.set_postfix(train=f"{train_loss:.4f}", validation=f"{validation_loss:.4f}")

    return show


def _until_next(step: int, config: TrainingConfig) -> int:
    return min(config.evaluate_every, config.steps - step)


class Trainer:
    """The state of a fit: all that a resume needs."""

    def __init__(
        self, data: Data, model_config: ModelConfig, config: TrainingConfig, team: SingleProcess
    ) -> None:
        torch.manual_seed(config.seed)
        self.data, self.config, self.team = data, config, team
        self.model = LSTMForecaster(model_config)
        if config.pretrained and models.is_for(model_config):
            models.start(self.model)
        self.model.factor_mean.fill_(data.factor_mean)
        self.model.factor_std.fill_(data.factor_std)
        if data.nonnegative:
            self.model.floor.fill_(0.0)
        self.average = copy.deepcopy(self.model)
        self.by_member = team.by_member(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.levels = torch.tensor(model_config.quantiles)
        self.step = 0
        self.stale = 0
        self.best_loss = math.inf
        self.best_step = 0
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []
        self.fingerprint = fingerprint(data.train.panel)
        count = len(data.validation.origins)
        chosen = np.linspace(0, count - 1, min(count, config.validation_windows)).astype(int)
        self.validation = batch_of(data.validation, np.unique(chosen), model_config.max_context)

    def train_step(self) -> float:
        """Learn from one batch. → its loss."""
        config, shape = self.config, self.model.config
        rng = np.random.default_rng([config.seed, self.step])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout
        index = rng.integers(len(self.data.train.origins), size=config.batch)
        # a short context must never be a surprise: half of the batches are shorter than the longest
        days = shape.max_context
        if rng.random() < 0.5:
            days = int(rng.integers(shape.context_length, shape.max_context + 1))
        context, future, targets = batch_with_changes(
            self.data.train, index, days, config.changes, rng
        )
        drop_covariates(future, rng, config.withhold)
        context, future, targets = self.team.share(context, future, targets)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * _one_cycle(self.step / config.steps)
        self.model.train()
        median, offsets, scale = self.by_member(context, future)
        loss = pinball_loss(median, offsets, scale, targets, self.levels, self.team.mean)
        shown = self.team.mean(loss)
        if not torch.isfinite(shown):
            raise TrainingError(self._describe(index))
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise TrainingError(self._describe(index))
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(shown.detach())

    def evaluate(self, train_loss: float) -> float:
        """Loss of the averaged weights on the validation span; the best are kept."""
        context, future, targets = self.validation
        self.average.eval()
        with torch.no_grad():
            median, offsets, scale = self.average.distribution(context, future)
            loss = float(pinball_loss(median, offsets, scale, targets, self.levels))
        if not math.isfinite(loss):
            raise TrainingError(
                f"validation loss is not finite at step {self.step}; lower the learning rate "
                f"({self.config.learning_rate})"
            )
        self.history.append({"step": self.step, "train_loss": train_loss, "validation_loss": loss})
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.stale = loss, self.step, 0
            self.best = {k: v.clone() for k, v in self.average.state_dict().items()}
        else:
            self.stale += 1
        return loss

    def finish(self) -> Fit:
        """The network with its best weights."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.best)
        model.eval()
        return Fit(model, self.config, self.history, self.best_loss, self.best_step)

    def save(self, folder: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        facts = {
            name: getattr(self, name) for name in ("step", "stale", "best_loss", "best_step")
        } | {"history": self.history, "settings": self._settings()}
        part = folder / "checkpoint.part"
        tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        save_file(tensors, part, metadata={"facts": json.dumps(facts)})
        part.replace(folder / "checkpoint.safetensors")  # one file, so it is whole or absent

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint of the same settings; any other is left unread."""
        path = folder / "checkpoint.safetensors"
        if not path.exists():
            return
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        if facts.pop("settings") != self._settings():
            log.info("checkpoint of other settings ignored", folder=folder.name)
            return
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "best": {}}
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(path).items():
            group, rest = key.split(".", 1)
            if group == "optimizer":
                number, name = rest.split(".", 1)
                state.setdefault(int(number), {})[name] = tensor
            else:
                groups[group][rest] = tensor
        self.model.load_state_dict(groups["model"])
        self.average.load_state_dict(groups["average"])
        self.best = groups["best"]
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        for name, value in facts.items():
            setattr(self, name, value)
        log.info("training resumed", step=self.step)

    def _settings(self) -> dict[str, Any]:
        origins = self.data.train.origins
        held = self.data.validation.origins
        facts = {
            "windows": [len(origins), int(origins.sum()), len(held), int(held.sum())],
            "data": self.fingerprint,
            "code": code_hash(),
        }
        shape = json.loads(json.dumps(self.model.config.to_dict()))
        return shape | self.config.to_dict() | facts

    def _update_average(self) -> None:
        # a short memory at first, or the average drags the initial weights along
        keep = min(self.config.ema, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)

    def _describe(self, index: np.ndarray) -> str:
        windows = self.data.train
        panel = windows.panel
        rows = windows.origins[index[:5]]
        series = panel.series_of(rows)
        names = [f"{panel.ids[s]} at {panel.dates[r]}" for s, r in zip(series, rows, strict=True)]
        return (
            f"loss is not finite at step {self.step}: batch of {len(index)} windows, the first "
            f"{', '.join(names)}; lower the learning rate ({self.config.learning_rate}) or look "
            "for extreme values there"
        )


def _one_cycle(progress: float, warm: float = 0.15, floor: float = 0.02) -> float:
    """Share of the peak learning rate: linear up, cosine down (Smith 2018)."""
    if progress < warm:
        return floor + (1 - floor) * progress / warm
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))
