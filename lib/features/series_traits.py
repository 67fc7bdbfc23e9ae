"""What the effects of covariates have of their own in each series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel
from lib.features.covariate_bases import Basis, known_covariates, series_medians
from lib.features.weekly_grid import WeeklyGrid, additive_unit


@dataclass(frozen=True)
class SeriesTraits:
    """What effects have of their own in each of S series.

    Attributes:
        additive: (S,) whether effects add, in units of the series, instead of multiply.
        units: (S,) of additive effects.
        references: (S, K) medians of the covariates that are numbers.
        gains: (S, K) by which a series multiplies the common effect.
        slopes: (S, K) by which it adds to the linear one.
    """

    additive: np.ndarray
    units: np.ndarray
    references: np.ndarray
    gains: np.ndarray
    slopes: np.ndarray

    @classmethod
    def measure(cls, panel: Panel, bases: tuple[Basis, ...], past: np.ndarray) -> SeriesTraits:
        """Measure the traits of series on the `past` rows, (N,), with the common effects."""
        values = np.where(past, panel.values, np.nan)
        covariates = known_covariates(panel)
        references = np.full((panel.n_series, len(bases)), np.nan)
        for k, basis in enumerate(bases):
            if basis.relative and basis.name in covariates:
                known = np.where(past, covariates[basis.name].values, np.nan)
                references[:, k] = series_medians(panel, known)
        grid = WeeklyGrid.of(panel, np.arange(panel.n_series), past)
        return cls(
            additive=np.fmin.reduceat(values, panel.offsets[:-1]) < 0,
            units=additive_unit(grid.gather(values)),
            references=references,
            gains=np.ones(references.shape),
            slopes=np.zeros(references.shape),
        )
