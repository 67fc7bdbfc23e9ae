"""Exact Shapley values of a forecast by feature, ours against SHAP's explainers on one game."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import shap

from benchmarks.speed.paired import Row, row, seconds_of
from lib.explanation import Explainer
from lib.features import FEATURES, FUTURE
from lib.forecaster import Forecaster


def explanation_rows(rounds: int, folder: Path) -> list[Row]:
    """Seconds a forecast at the same additivity error (rounding), one thread."""
    forecaster = Forecaster.load(folder)
    days = forecaster.contract.context_length
    explainer = Explainer(forecaster)
    past, later = forecaster.background()
    window, ahead = past[-1, -days:], later[-1]
    past, later = explainer._background[0][:, -days:], explainer._background[1]
    known = [FUTURE.index(name) for name in ("fator_externo", "evento_especial")]

    def game(masks: np.ndarray) -> np.ndarray:
        """Mean forecast of the first day when the masked features are the window's own."""
        own = masks.astype(bool)
        owned = np.ones((len(own), len(FUTURE)), dtype=bool)
        owned[:, known] = own[:, -2:]
        total = np.zeros(len(own))
        for one, one_later in zip(past, later, strict=True):
            mixed = np.where(own[:, None], window, one)
            total += forecaster.predict(mixed, np.where(owned[:, None], ahead, one_later))[:, 0, 3]
        return total / len(past)

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
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    medians = {name: statistics.median(each) for name, each in times.items()}
    ours = medians.pop("ours")
    return [
        row("Shapley values by feature", ours, peer, name, "s", more=False)
        for name, peer in medians.items()
    ]
