"""The graph of the pretrained network as it is: units, widths and floor are applied around it.

A trained network has them in its graph. The pretrained one is the same file for all data, so that a
forecast without training needs neither PyTorch nor an export.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.features import FEATURES, FUTURE
from lib.inference.artifact import CALIBRATION, PRETRAINED_GRAPH, Contract

_FACTOR, _FACTOR_AHEAD = FEATURES.index("fator_externo"), FUTURE.index("fator_externo")
_VALUES = (FEATURES.index("lag_1"), FEATURES.index("lag_7"))


@dataclass(frozen=True)
class SharedGraph:
    """What is done to the inputs and outputs of the pretrained graph.

    Attributes:
        spread: (horizon or 1, levels) factors of the widths.
        median: place of the median among the levels.
        units: mean and standard deviation of the factor, None to take those of each window.
        floor: lowest possible value, None for that of each window: 0 where nothing is below.
    """

    spread: np.ndarray
    median: int
    units: tuple[float, float] | None
    floor: float | None

    @classmethod
    def of(cls, contract: Contract, folder: Path) -> SharedGraph | None:
        """Return it for the artifact in a folder, None where the graph is the artifact's own."""
        if PRETRAINED_GRAPH not in contract.settings:
            return None
        if CALIBRATION not in contract.sha256:
            levels = contract.quantiles
            return cls(np.ones((1, len(levels))), levels.index(0.5), None, None)
        with np.load(folder / CALIBRATION) as arrays:
            return cls.calibrated(contract, arrays["spread"])

    @classmethod
    def calibrated(cls, contract: Contract, spread: np.ndarray) -> SharedGraph:
        """Return it with factors of the widths, and the units and floor of a contract."""
        mean, std = contract.scaling["factor_mean"] or 0.0, contract.scaling["factor_std"] or 1.0
        floor = contract.scaling["floor"]
        median = contract.quantiles.index(0.5)
        return cls(spread, median, (mean, std), -np.inf if floor is None else floor)

    def scale(self, features: np.ndarray, future: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of inputs with the factor in the units of the graph."""
        features, future = features.copy(), future.copy()
        factor = features[..., _FACTOR]
        mean, std = self.units or _units_of(factor)
        features[..., _FACTOR] = (factor - mean) / std
        future[..., _FACTOR_AHEAD] = (future[..., _FACTOR_AHEAD] - mean) / std
        return features, future

    def finish(self, quantiles: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return quantiles (batch, horizon, levels) with their widths and floor.

        Args:
            quantiles: of the graph.
            features: (batch, days, 11) that they are made from.
        """
        middle = quantiles[..., self.median : self.median + 1]
        quantiles = middle + (quantiles - middle) * self.spread
        floor = _floor_of(features) if self.floor is None else self.floor
        return np.maximum(quantiles, floor)


def _units_of(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each window's factor, both (batch, 1)."""
    known = np.isfinite(factor)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, factor, 0.0).sum(axis=1, keepdims=True) / count
    square = np.where(known, (factor - mean) ** 2, 0.0).sum(axis=1, keepdims=True) / count
    return mean, np.where(square > 0, np.sqrt(square), 1.0)


def _floor_of(features: np.ndarray) -> np.ndarray:
    """Return 0 for windows without a negative value, else -inf. (batch, 1, 1)."""
    negative = (features[..., _VALUES] < 0).any(axis=(1, 2))
    return np.where(negative, -np.inf, 0.0)[:, None, None]
