"""The effects of covariates in an artifact: read, written, and applied to forecasts of a panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data import Panel, take_series
from lib.features import CovariateEffects, PanelEffects, PastEffects

HIDDEN_SPREAD = "hidden_spread"
MAX_PATTERNS = 4  # of known covariates on the days ahead of a series, each a forecast of its own
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

        Each day is forecast by what is known of it: there, effects that are not known stay in the
        series, and the forecast is as wide as without them. So a plan for some days changes no
        other day.

        Args:
            panel: as it is observed.
            origins: (n,) rows.
            forecast: of a panel from origins.
            known_future: False takes nothing but the date to be known ahead.

        Returns:
            (n, horizon, levels).
        """
        applied = self.effects.apply(panel)
        visible = self.visible_ahead(applied, origins, known_future=known_future)
        quantiles = np.empty((len(origins), *self.hidden_spread.shape[1:]))
        for pattern in np.unique(visible.reshape(-1, visible.shape[-1]), axis=0):
            days = (visible == pattern).all(axis=-1)
            rows = np.flatnonzero(days.any(axis=1))
            found = forecast(*_take(applied.remove(pattern), origins[rows]))
            found = applied.restore(self._widen(found, pattern), origins[rows], pattern)
            quantiles[rows] = np.where(days[rows, :, None], found, quantiles[rows])
        return quantiles

    def visible_ahead(
        self, applied: PanelEffects, origins: np.ndarray, *, known_future: bool = True
    ) -> np.ndarray:
        """Return the covariates that the forecast of each day ahead knows. (n, horizon, K) bool.

        Args:
            applied: the effects on a panel.
            origins: (n,) rows.
            known_future: as for `forecast`.
        """
        always = self.effects.always_known
        known = applied.known_ahead(origins, self.hidden_spread.shape[1])
        known &= known_future | always
        for row in np.flatnonzero((known != known[:, :1]).any(axis=(1, 2))):
            known[row] = _merge(known[row], always)
        return known

    def _widen(self, quantiles: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Return quantiles (n, horizon, levels) as wide as they are without hidden covariates."""
        if visible.all():
            return quantiles
        spread = np.maximum(self.hidden_spread[:-1][~visible], 1.0).max(axis=0)
        if not visible[~self.effects.always_known].any():
            spread = self.hidden_spread[-1]
        middle = quantiles[..., self.median : self.median + 1]
        return middle + (quantiles - middle) * spread


def _merge(known: np.ndarray, always: np.ndarray) -> np.ndarray:
    """Return what is known of each day ahead, (horizon, K), in at most MAX_PATTERNS patterns.

    Days with a rare pattern count as knowing less: the largest of the frequent ones within it.
    """
    patterns, place, count = np.unique(known, axis=0, return_inverse=True, return_counts=True)
    if len(patterns) <= MAX_PATTERNS:
        return known
    frequent = np.argsort(-count, kind="stable")[: MAX_PATTERNS - 1]
    kept = np.concatenate([patterns[frequent], always[None]])
    within = (kept <= patterns[:, None]).all(axis=-1)
    largest = np.where(within, kept.sum(axis=-1), -1).argmax(axis=-1)
    return kept[largest][place.ravel()]


def _take(panel: Panel, origins: np.ndarray) -> tuple[Panel, np.ndarray]:
    """Return the series of a panel that have an origin, and the origins in it."""
    numbers, place = np.unique(panel.series_of(origins), return_inverse=True)
    if len(numbers) == panel.n_series:
        return panel, origins
    some = take_series(panel, numbers)
    return some, origins - panel.offsets[numbers][place] + some.offsets[place]


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
