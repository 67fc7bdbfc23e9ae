"""What the series of a panel have in common: their week and year, as deviations from their levels.

A series that has just begun says little about its week and nothing about its year. The others do,
and deviations that are relative to the level suit a series of any level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel
from lib.features.engineering import YEAR

USUAL_DRIFT = 0.2  # standard deviation of a level over weeks, where it cannot be measured


@dataclass(frozen=True)
class SeriesPool:
    """What series have in common. A value is level + magnitude · (shape + weekday + noise).

    Level and magnitude (mean absolute value) are the same for a series without negative values.

    Attributes:
        first: day of the first column of `shape`.
        shape: (1 + groups, days) relative deviations from the level; the shape of all series, then
            what is added for each label of a static covariate. NaN on days without a value.
        centers: (1 + groups,) mean logarithm of the magnitude, and what is added.
        groups: name and label of static covariates.
        noise: standard deviation of a day.
        drift: of a level over some weeks.
        weekday: of the effect of a weekday, among series.
        spread: of the logarithm of magnitudes; infinite where they say nothing about another one.
    """

    first: np.datetime64
    shape: np.ndarray
    centers: np.ndarray
    groups: tuple[tuple[str, str], ...]
    noise: float
    drift: float
    weekday: float
    spread: float

    @classmethod
    def flat(cls) -> SeriesPool:
        """Return what is supposed of a series that there are no others for.

        >>> SeriesPool.flat().shape.shape
        (1, 7)
        """
        day = np.datetime64("2024-01-01", "D")
        return cls(day, np.zeros((1, 7)), np.zeros(1), (), 0.3, USUAL_DRIFT, 0.5, np.inf)

    def shape_of(self, panel: Panel, rows: np.ndarray, dates: np.ndarray) -> np.ndarray:
        """Return the shape on the days of windows. (n, days), NaN where nothing is known.

        Days that the pool has not seen have that of whole years earlier or later, of whole weeks
        where it has seen less than a year. All days of a window after the pool move together.

        Args:
            panel: of the series.
            rows: (n,) one row of each window's series.
            dates: (n, days) datetime64[D], rising.
        """
        length = self.shape.shape[1]
        period = YEAR if length >= YEAR else length // 7 * 7
        if not period:
            return np.zeros(dates.shape)
        at = (dates - self.first).astype(np.int64)
        beyond = np.maximum(at[:, -1:] - (length - 1), 0)
        at = at - -(-beyond // period) * period
        at = at + -(-np.maximum(-at, 0) // period) * period
        shapes = self.shape[0] + self._members(panel, rows) @ np.nan_to_num(self.shape[1:])
        return np.take_along_axis(shapes, at, axis=1)

    def center_of(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Return the mean logarithm of the magnitude for the series of some rows. (n,)."""
        return self.centers[0] + self._members(panel, rows) @ self.centers[1:]

    def _members(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Return which groups the series of some rows belong to. (n, groups) of 0 and 1."""
        labels = static_labels(panel)
        members = np.zeros((panel.n_series, len(self.groups)))
        for number, (name, label) in enumerate(self.groups):
            if name in labels:
                members[:, number] = labels[name] == label
        return members[panel.series_of(rows)]


def measure_levels(values: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return level and magnitude of each series, given its shape, both (n, 1).

    Args:
        values: (n, days), NaN where missing.
        shape: (n, days), or (1, days) for all.
    """
    observed = np.isfinite(values)
    count = np.maximum(observed.sum(axis=1, keepdims=True), 1)
    mean = np.nansum(values, axis=1, keepdims=True) / count
    size = np.nansum(np.abs(values), axis=1, keepdims=True) / count
    usual = np.where(observed, np.nan_to_num(shape), 0.0).sum(axis=1, keepdims=True) / count
    magnitude = size / np.maximum(1 + usual, 0.05)
    return mean - magnitude * usual, magnitude


def static_labels(panel: Panel) -> dict[str, np.ndarray]:
    """Return the labels (series,) of each static category, "" where unknown."""
    labels = {}
    for covariate in panel.covariates:
        if covariate.role == "static" and covariate.labels:
            first = covariate.values[panel.offsets[:-1]]
            names = np.array(["", *covariate.labels], dtype=object)
            labels[covariate.name] = names[np.where(np.isfinite(first), first + 1, 0).astype(int)]
    return labels
