"""Value coalitions of players by the forecast that their inputs and their effects make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.explanation.covariates import DayEffects
from lib.explanation.players import Players
from lib.explanation.shapley import Game
from lib.features import FEATURES

BATCH = 256  # windows per inference
Window = tuple[np.ndarray, np.ndarray]  # features (days, 11) and known future (horizon, k)
# Explained days of each window: (n, days, 11) and (n, horizon, k) in, (n, explained days) out.
Output = Callable[[np.ndarray, np.ndarray], np.ndarray]


class NetworkGame:
    """Value coalitions by the mean output of windows that mix a forecast with the background.

    The players of a coalition bring the inputs of the forecast, the others those of a background
    window.

    Args:
        output: of the network.
        window: that is explained.
        background: the windows that it is compared with, (n, days, 11) and (n, horizon, k).
        players: who bring the inputs.
    """

    def __init__(
        self, output: Output, window: Window, background: Window, players: Players
    ) -> None:
        self._output, self._window = output, window
        self._background = list(zip(*background, strict=True))
        self._weights = [mask.astype(np.float32) for mask in players]
        # A player whose inputs equal the background's changes nothing: (windows, players)
        self._matters = np.array([_differs(players, window, each) for each in self._background])

    def by_day(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the values by explained day: (n, players) bool in, (n, explained days) out."""
        total: np.ndarray | float = 0.0
        for background, matters in zip(self._background, self._matters, strict=True):
            distinct, place = np.unique(coalitions & matters, axis=0, return_inverse=True)
            total = total + self._mixed_outputs(distinct, background)[place.ravel()]
        return np.asarray(total) / len(self._background)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the values of coalitions: (n, players) bool in, (n,) out."""
        return self.by_day(coalitions).mean(axis=1)

    def _mixed_outputs(self, coalitions: np.ndarray, background: Window) -> np.ndarray:
        outputs = []
        for start in range(0, len(coalitions), BATCH):
            batch = coalitions[start : start + BATCH].astype(np.float32)
            mixed = [
                np.where(np.tensordot(batch, weights, 1) > 0, ours, theirs)
                for weights, ours, theirs in zip(
                    self._weights, self._window, background, strict=True
                )
            ]
            outputs.append(self._output(*mixed).astype(np.float64))
        return np.concatenate(outputs)


@dataclass(frozen=True)
class EffectsGame:
    """Value coalitions by the forecast with the effects of covariates put back.

    Attributes:
        network: its players are the first ones.
        players: number of them.
        effects: of the covariates.
        carriers: (V,) player of each covariate. A covariate outside a coalition has its usual
            effect.
    """

    network: NetworkGame
    players: int
    effects: DayEffects
    carriers: np.ndarray

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the values of coalitions: (n, players) bool in, (n,) out."""
        values = self.network.by_day(coalitions[:, : self.players])
        return self.effects.put_back(values, coalitions[:, self.carriers]).mean(axis=1)


def block_game(network: NetworkGame, blocks: int, effects: DayEffects | None) -> Game:
    """Return the game of blocks of days; the effects come with the days ahead, the last block."""
    if effects is None:
        return network
    return EffectsGame(network, blocks, effects, np.full(len(effects.names), blocks - 1))


def cell_game(network: NetworkGame, blocks: int, effects: DayEffects | None) -> Game:
    """Return the game of pairs of a feature or covariate and a block of days."""
    if effects is None:
        return network
    ahead = tuple(blocks * (feature + 1) - 1 for feature in range(len(FEATURES)))
    carriers = effects.carriers(ahead, ahead[-1] + blocks, blocks)
    return EffectsGame(network, blocks * len(FEATURES), effects, carriers)


def _differs(players: Players, window: Window, background: Window) -> np.ndarray:
    """Return whether any input of each player differs from the background's: (players,) bool."""
    past, ahead = (
        (mask & ~_same(ours, theirs)).any(axis=(1, 2))
        for mask, ours, theirs in zip(players, window, background, strict=True)
    )
    return past | ahead


def _same(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
