"""What an artifact knows of series that have just begun: what others have in common, and widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data import Panel
from lib.features import YOUNG_DAYS, SeriesPool, find_young, values_at

KNOWN_DAYS = (1, 3, 7, 14, 30, 59)  # at which widths are measured; between them by the logarithm
_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Of series without others: as measured with the pretrained network on synthetic worlds that it has
# not learned and on days of real series, rounded up where a single day or three say nothing of the
# week.
_USUAL = (
    (1.8, 1.8, 1.5, 1.0, 2.0, 2.6, 3.2),
    (1.7, 1.6, 1.4, 1.0, 1.8, 2.1, 2.5),
    (1.6, 1.5, 1.15, 1.0, 1.6, 1.8, 1.9),
    (1.5, 1.3, 1.05, 1.0, 1.35, 1.5, 1.6),
    (1.4, 1.2, 1.0, 1.0, 1.3, 1.3, 1.35),
    (1.3, 1.1, 1.0, 1.0, 1.3, 1.2, 1.25),
)


@dataclass(frozen=True)
class ColdStart:
    """What is borrowed by series of fewer than YOUNG_DAYS days.

    Attributes:
        pool: of the other series.
        widths: (len(KNOWN_DAYS), levels), by which the quantiles are farther from the median.
        is_learned: whether there were other series; else it is what is supposed without them.
    """

    pool: SeriesPool
    widths: np.ndarray
    is_learned: bool = True

    @classmethod
    def usual(cls, levels: Sequence[float]) -> ColdStart:
        """Return what is supposed without other series."""
        return cls(SeriesPool.flat(), usual_widths(levels), is_learned=False)

    def write(self, path: Path) -> None:
        """Write one file of numpy arrays without objects."""
        pool = self.pool
        np.savez_compressed(
            path,
            first=np.array(pool.first.astype("datetime64[D]").astype(np.int64)),
            shape=pool.shape.astype(np.float32),
            centers=pool.centers,
            groups=np.array(pool.groups, dtype="U").reshape(-1, 2),
            deviations=np.array([pool.noise, pool.drift, pool.weekday, pool.spread]),
            widths=self.widths,
        )

    @classmethod
    def read(cls, path: Path) -> ColdStart:
        """Read what `write` wrote."""
        with np.load(path) as file:
            arrays: dict[str, Any] = dict(file)
        pool = SeriesPool(
            np.datetime64(int(arrays["first"]), "D"),
            arrays["shape"].astype(np.float64),
            arrays["centers"],
            tuple((str(name), str(label)) for name, label in arrays["groups"]),
            *arrays["deviations"].tolist(),
        )
        return cls(pool, arrays["widths"])

    def widen(
        self, panel: Panel, origins: np.ndarray, quantiles: np.ndarray, median: int
    ) -> np.ndarray:
        """Return the quantiles of young series, wider the fewer of their days are known.

        Args:
            panel: that was forecast.
            origins: (n,) rows.
            quantiles: (n, horizon, levels).
            median: place of the median among the levels.
        """
        known = np.log(np.clip(count_known(panel, origins), 1, KNOWN_DAYS[-1]))
        at = np.log(KNOWN_DAYS)
        widths = np.stack([np.interp(known, at, column) for column in self.widths.T], axis=-1)
        middle = quantiles[..., median : median + 1]
        return middle + (quantiles - middle) * widths[:, None]


def usual_widths(levels: Sequence[float]) -> np.ndarray:
    """Return the widths (len(KNOWN_DAYS), levels) of series without others."""
    return np.stack([np.interp(levels, _LEVELS, row) for row in _USUAL])


def count_known(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Return how many of the YOUNG_DAYS up to each origin are observed. (n,) int64."""
    recent = values_at(panel, panel.values, origins, np.arange(1 - YOUNG_DAYS, 1))
    return np.isfinite(recent).sum(axis=1)


def floor_young(panel: Panel, origins: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Keep the quantiles of young series without a negative value at zero or above.

    The contract names the series that it has learned, and a young one may be none of them.
    """
    young = find_young(panel, origins)
    if not young.any():
        return quantiles
    recent = values_at(panel, panel.values, origins[young], np.arange(1 - YOUNG_DAYS, 1))
    lowest = np.where(np.isfinite(recent), recent, np.inf).min(axis=1)
    floor = np.full(len(origins), -np.inf)
    floor[young] = np.where(lowest >= 0, 0.0, -np.inf)
    return np.maximum(quantiles, floor[:, None, None])
