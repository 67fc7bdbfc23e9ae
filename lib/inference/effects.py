"""The effects of covariates in an artifact: read, written, and applied to forecasts of a panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data import Panel
from lib.features import CovariateEffects, PastEffects

HIDDEN_SPREAD = "hidden_spread"
Forecast = Callable[[Panel, np.ndarray], np.ndarray]  # panel and origins to quantiles


@dataclass(frozen=True)
class LearnedEffects:
    """What an artifact knows of K covariates.

    Attributes:
        effects: of the covariates on the series.
        hidden_spread: (K + 1, horizon, levels), by how much widths grow where a covariate is
            unknown ahead; the last where all are.
        median: place of the median among the levels.
    """

    effects: CovariateEffects
    hidden_spread: np.ndarray
    median: int

    def write(self, path: Path) -> None:
        """Write one file of numpy arrays without objects."""
        _write(path, self.effects.to_arrays(), self.hidden_spread)

    @classmethod
    def read(cls, path: Path, median: int) -> LearnedEffects:
        """Read what `write` wrote."""
        arrays = _read(path)
        return cls(CovariateEffects.from_arrays(arrays), arrays[HIDDEN_SPREAD], median)

    def forecast(
        self, panel: Panel, origins: np.ndarray, forecast: Forecast, *, known_future: bool
    ) -> np.ndarray:
        """Forecast a panel without the effects that are known ahead, and put them back.

        An effect that is not known for any day ahead stays in the series. One that is known for
        some of the days is taken to be as recently on the others, and the forecast is wider there.

        Args:
            panel: as it is observed.
            origins: (n,) rows.
            forecast: of a panel from origins.
            known_future: False takes nothing but the date to be known ahead.

        Returns:
            (n, horizon, levels).
        """
        applied = self.effects.apply(panel)
        horizon = self.hidden_spread.shape[1]
        known = applied.known_ahead(origins, horizon)  # (n, horizon, K)
        known &= known_future | self.effects.always_known
        visible = known.any(axis=1)
        quantiles = np.empty((len(origins), *self.hidden_spread.shape[1:]))
        for pattern in np.unique(visible, axis=0):
            rows = np.flatnonzero((visible == pattern).all(axis=1))
            found = forecast(applied.remove(pattern), origins[rows])
            found = self._widen(found, known[rows])
            quantiles[rows] = applied.restore(found, origins[rows], pattern)
        return quantiles

    def _widen(self, quantiles: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return quantiles (n, horizon, levels) that are wider where covariates are unknown."""
        if known.all():
            return quantiles
        unknown = ~known[..., None]  # (n, horizon, K, 1)
        each = self.hidden_spread[:-1].transpose(1, 0, 2)  # (horizon, K, levels)
        spread = np.where(unknown, np.maximum(each, 1.0), 1.0).max(axis=2)
        nothing = np.logical_not(known[..., ~self.effects.always_known].any(axis=2))[..., None]
        spread = np.where(nothing, self.hidden_spread[-1], spread)
        middle = quantiles[..., self.median : self.median + 1]
        return middle + (quantiles - middle) * spread


@dataclass(frozen=True)
class LearnedPast:
    """What an artifact knows of past covariates.

    Attributes:
        effects: on the days ahead.
        hidden_spread: (horizon, levels), by how much widths grow without them.
        median: place of the median among the levels.
    """

    effects: PastEffects
    hidden_spread: np.ndarray
    median: int

    def write(self, path: Path) -> None:
        """Write one file of numpy arrays without objects."""
        _write(path, self.effects.to_arrays(), self.hidden_spread)

    @classmethod
    def read(cls, path: Path, median: int) -> LearnedPast:
        """Read what `write` wrote."""
        arrays = _read(path)
        return cls(PastEffects.from_arrays(arrays), arrays[HIDDEN_SPREAD], median)

    def restore(self, panel: Panel, origins: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
        """Put the effects on forecasts, (n, horizon, levels), of the panel that they were made of.

        Where covariates have no value in the last days, the forecast is as without them and wider.
        """
        effects, units = self.effects.measure(panel, origins, quantiles.shape[1])
        unknown = (~self.effects.known(panel, origins)).mean(axis=1)[:, None, None]
        middle = quantiles[..., self.median : self.median + 1]
        spread = 1 + (np.maximum(self.hidden_spread, 1.0) - 1) * unknown
        quantiles = middle + (quantiles - middle) * spread
        effect, units = effects.sum(axis=0)[..., None], units[:, None, None]
        return np.where(np.isnan(units), quantiles * np.exp(effect), quantiles + units * effect)


def _write(path: Path, effects: dict[str, np.ndarray], hidden_spread: np.ndarray) -> None:
    arrays: dict[str, Any] = effects | {HIDDEN_SPREAD: hidden_spread}
    np.savez_compressed(path, **arrays)


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)
