"""Compare exact Shapley values by feature with the explainers of SHAP on the same game."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import shap
import torch
from torch import Tensor, nn

from benchmarks.speed.paired import Row, row, seconds_of
from lib.explanation import Explainer
from lib.features import FEATURES, FUTURE
from lib.inference import ServedModel
from lib.training import load_weights

KNOWN = [FUTURE.index(name) for name in ("fator_externo", "evento_especial")]


def explanation_rows(rounds: int, folder: Path) -> list[Row]:
    """Measure seconds per forecast, one thread: at the same additivity error, and by gradients."""
    forecaster = ServedModel.load(folder)
    days = forecaster.contract.context_length
    explainer = Explainer(forecaster)
    past, later = forecaster.background()
    window, ahead = past[-1, -days:], later[-1]
    past, later = explainer._background[0][:, -days:], explainer._background[1]

    def game(masks: np.ndarray) -> np.ndarray:
        """Return the mean forecast of the first day with the masked features of the window."""
        masks = masks.astype(bool)
        future_masks = np.ones((len(masks), len(FUTURE)), dtype=bool)
        future_masks[:, KNOWN] = masks[:, -2:]
        total = np.zeros(len(masks))
        for one, one_later in zip(past, later, strict=True):
            mixed = np.where(masks[:, None], window, one)
            mixed_future = np.where(future_masks[:, None], ahead, one_later)
            total += forecaster.predict(mixed, mixed_future)[:, 0, 3]
        return total / len(past)

    gradients = _Gradients(folder, (past, later), (window, ahead))
    players = len(FEATURES)
    nobody, everybody = np.zeros((1, players)), np.ones((1, players))
    kernel = shap.KernelExplainer(game, nobody, silent=True)
    permutation = shap.PermutationExplainer(game, nobody, seed=0)
    works = {
        "ours": lambda: explainer.by_feature(window, ahead),
        "shap.KernelExplainer, all coalitions": lambda: kernel.shap_values(
            everybody, nsamples=2**players, silent=True
        ),
        "shap.PermutationExplainer, 10 permutations": lambda: permutation(
            everybody, max_evals=10 * (2 * players + 1)
        ),
        "shap.GradientExplainer, 200 samples": gradients.explain,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    medians = {name: statistics.median(each) for name, each in times.items()}
    ours = medians.pop("ours")
    rows = [
        row("Shapley values by feature", ours, peer, name, "s", more=False)
        for name, peer in medians.items()
    ]
    base, output = explainer.base_and_output(window, ahead)
    missed = abs(explainer.by_feature(window, ahead).sum() - (output - base)) / abs(output)
    ours, theirs = (max(1e6 * error, 1.0) for error in (missed, gradients.error()))
    peer, unit = "shap.GradientExplainer, 200 samples", "ppm (1 or less is 1)"
    error = row("additivity error", ours, theirs, peer, unit, more=False)
    return [*rows, error]


class _Gradients:
    """Expected gradients of the network. Gaps have no gradient, so they are filled with means."""

    def __init__(
        self,
        folder: Path,
        background: tuple[np.ndarray, np.ndarray],
        window: tuple[np.ndarray, np.ndarray],
    ) -> None:
        self._game = _FirstDay(load_weights(folder / "weights.safetensors"), window[1])
        self._background = _tensors(*background)
        self._window = _tensors(window[0][None], window[1][None])
        self._explainer = shap.GradientExplainer(self._game, self._background)

    def explain(self) -> list[np.ndarray]:
        return self._explainer.shap_values(self._window, nsamples=200, rseed=0)

    def error(self) -> float:
        """Return the additivity error as a share of the forecast."""
        total = sum(float(np.sum(values)) for values in self.explain())
        with torch.no_grad():
            output = self._game(*self._window).item()
            base = self._game(*self._background).mean().item()
        return abs(output - base - total) / abs(output)


class _FirstDay(nn.Module):
    """The median of the first day, as a function of features and known future covariates."""

    def __init__(self, network: nn.Module, ahead: np.ndarray) -> None:
        super().__init__()
        self.network = network
        self.ahead = torch.as_tensor(ahead)

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        future = self.ahead.repeat(len(features), 1, 1)
        future[..., KNOWN] = known.double()
        return self.network(features.double(), future)[:, 0, 3:4]


def _tensors(features: np.ndarray, future: np.ndarray) -> list[Tensor]:
    """Return tensors (n, days, 11) and (n, horizon, known) without gaps."""
    both = (features, future[..., KNOWN])
    means = [np.nan_to_num(np.nanmean(x, axis=1, keepdims=True)) for x in both]
    filled = (np.where(np.isnan(x), m, x) for x, m in zip(both, means, strict=True))
    return [torch.as_tensor(x) for x in filled]
