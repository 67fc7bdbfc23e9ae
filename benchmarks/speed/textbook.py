"""Training and tuning as they are usually written: DataLoader, nn.LSTM, one process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lib.calibration import PreparedData

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
CONTEXT = 60


class WindowsOfOne(Dataset):
    """One window of scaled features and targets at a time."""

    def __init__(
        self, data: PreparedData, part: str, features: np.ndarray, values: np.ndarray
    ) -> None:
        self.features, self.values = features, values
        self.origins = getattr(data, part).origins
        self.origins = self.origins[self.origins >= CONTEXT]
        self.horizon = data.train.horizon

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        end = self.origins[i]
        window = self.features[end - CONTEXT + 1 : end + 1]
        target = self.values[end + 1 : end + 1 + self.horizon]
        return torch.from_numpy(window), torch.from_numpy(target)


class PlainLSTM(nn.Module):
    """A recurrent layer or two and a linear head of all days and levels."""

    def __init__(self, hidden: int, layers: int, dropout: float, horizon: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            11, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0
        )
        self.head = nn.Linear(hidden, horizon * len(LEVELS))
        self.shape = (horizon, len(LEVELS))

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x)
        return self.head(out[:, -1]).reshape(-1, *self.shape)


def scaled(data: PreparedData) -> tuple[np.ndarray, np.ndarray, float]:
    """Scale by mean and deviation of the training span, and fill gaps forward."""
    import pandas as pd

    features = pd.DataFrame(data.train.features).ffill().fillna(0.0).to_numpy()
    until = data.train.origins.max()
    mean, std = features[:until].mean(0), features[:until].std(0) + 1e-9
    values = pd.Series(data.train.panel.values).ffill().bfill().to_numpy()
    center, unit = values[:until].mean(), values[:until].std()
    return (
        ((features - mean) / std).astype(np.float32),
        ((values - center) / unit).astype(np.float32),
        float(unit),
    )


def loss_of(quantiles: Tensor, target: Tensor) -> Tensor:
    gap = target[..., None] - quantiles
    levels = torch.tensor(LEVELS)
    return torch.maximum(levels * gap, (levels - 1) * gap).mean()


def steps(data: PreparedData, hidden: int, batch: int) -> Callable[[int], None]:
    """Return a function that trains a number of batches."""
    features, values, _ = scaled(data)
    loader = DataLoader(WindowsOfOne(data, "train", features, values), batch, shuffle=True)
    model = PlainLSTM(hidden, 1, 0.0, data.train.horizon)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    batches = iter(loader)

    def run(count: int) -> None:
        nonlocal batches
        for _ in range(count):
            try:
                x, y = next(batches)
            except StopIteration:
                batches = iter(loader)
                x, y = next(batches)
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()

    return run


def tune(data: PreparedData, trials: int, epochs: int, unit_of_ours: np.ndarray) -> float:
    """Run trials one after the other and return the best validation loss, in scales of ours.

    Args:
        data: windows of one panel.
        trials: with median pruning.
        epochs: of each trial.
        unit_of_ours: (validation windows,) scale of each window, by which our loss is divided.
    """
    features, values, unit = scaled(data)
    train = WindowsOfOne(data, "train", features, values)
    held = WindowsOfOne(data, "validation", features, values)
    x = torch.stack([held[i][0] for i in range(len(held))])
    y = torch.stack([held[i][1] for i in range(len(held))])
    weight = torch.from_numpy(unit / unit_of_ours[-len(held) :]).float()[:, None, None]
    levels = torch.tensor(LEVELS)

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        hidden = trial.suggest_int("hidden", 32, 128, step=32)
        layers, dropout = trial.suggest_int("layers", 1, 3), trial.suggest_float("dropout", 0, 0.5)
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        loader = DataLoader(train, trial.suggest_categorical("batch", [32, 64]), shuffle=True)
        model = PlainLSTM(hidden, layers, dropout, data.train.horizon)
        optimizer = torch.optim.Adam(model.parameters(), rate)
        best = float("inf")
        for epoch in range(epochs):
            model.train()
            for inputs, target in loader:
                optimizer.zero_grad()
                loss_of(model(inputs), target).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                gap = (y[..., None] - model(x)) * weight
                loss = float(torch.maximum(levels * gap, (levels - 1) * gap).mean())
            best = min(best, loss)
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=trials)
    return study.best_value
