"""Draw sample paths whose days and series depend on each other as in the past.

A path takes one past forecast origin: the ranks of all its days and series (`Ranks`) are mapped
through the quantiles of the new forecasts. Sums over days and series, path by path, are totals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from lib.inference.artifact import ArtifactError
from lib.inference.ranks import CODES, Ranks, normal_scores

PATHS = 1000  # drawn where nothing else is said


class PathSampler:
    """Draw the paths of any number of series, one series at a time.

    The origin of each path is the same for all series, whatever the order in which they come and
    whichever others there are. So paths of several series may be added up path by path, and those
    of two forecasts of one series compared path by path.

    Args:
        ranks: of the model.
        levels: of its quantiles.
        paths: number of paths.
        seed: of all draws.

    Raises:
        ArtifactError: the model has no ranks.
        ValueError: there are fewer than two paths.

    >>> import numpy as np
    >>> from lib.inference.ranks import Ranks
    >>> codes = np.random.default_rng(0).integers(-60, 60, (50, 1, 7)).astype(np.int8)
    >>> sampler = PathSampler(Ranks(("shop",), codes, 0.1, 0.5), (0.1, 0.5, 0.9), paths=200)
    >>> quantiles = np.tile([8.0, 10.0, 12.0], (7, 1))
    >>> paths = sampler.draw("shop", quantiles)
    >>> paths.shape, bool(66 < np.median(paths.sum(axis=1)) < 74)
    ((200, 7), True)
    """

    def __init__(
        self, ranks: Ranks | None, levels: Sequence[float], *, paths: int = PATHS, seed: int = 0
    ) -> None:
        if ranks is None:
            raise ArtifactError(
                "ranks.npz: this model has none, so it has no totals: it was trained by an earlier "
                "release, or on too short a history. Train it again, on at least "
                "60 days more than the horizon"
            )
        if paths < 2:
            raise ValueError(f"paths: expected at least 2, got {paths}")
        self.ranks, self.paths, self.seed = ranks, paths, seed
        self._z = normal_scores(levels)
        self._column = {name: s for s, name in enumerate(ranks.ids)}
        rng = np.random.default_rng(seed)
        # Each origin as often as any other, and shifts evenly spread: less chance than free draws.
        self._origins = rng.permutation(np.arange(paths) % len(ranks.codes))
        self._even = normal_scores((np.arange(paths) + 0.5) / paths)
        self._common_shift = rng.permutation(self._even)
        self._effect_error = rng.permutation(self._even)

    def draw(
        self, series: str, quantiles: np.ndarray, *, floor: float | np.ndarray = -np.inf
    ) -> np.ndarray:
        """Draw the paths of one series.

        A series that the ranks do not name takes those of another at the same origin, by chance.
        Beyond the outer levels a path goes on with the slope of the last two, in normal scores.

        Args:
            series: its name.
            quantiles: (days, levels), the forecast of its first days, in its unit.
            floor: least possible value.

        Returns:
            (paths, days), in the unit of the series.
        """
        return self._map(self._scores(series, len(quantiles)), quantiles, floor)

    def draw_scenario(
        self,
        series: str,
        base: np.ndarray,
        quantiles: np.ndarray,
        *,
        floor: float | np.ndarray = -np.inf,
    ) -> np.ndarray:
        """Draw the paths of a scenario, to be compared path by path with those of another.

        The effect of the scenario is not known exactly: how far it may be off is measured on the
        validation (`measure_effect_error`), as a share of the effect. Where that is not known, a
        forecast that becomes wider, from a standard deviation of v to w, says it: the error is
        then √(w² - v²), at most the effect itself. The error takes the place of a part of the
        variance of a day, so that the paths have the quantiles of the scenario. All effects of a
        path are too large or too small together. Where nothing changes, the paths are
        those of the base.

        Args:
            series: its name.
            base: (days, levels), the forecast to compare with; its paths are those of `draw`.
            quantiles: (days, levels), the forecast under the scenario.
            floor: least possible value.

        Returns:
            (paths, days), in the unit of the series; they have the quantiles of the scenario.
        """
        common, share = self._split_effect_error(base, quantiles)
        scores = common[:, None] * self._scores(series, len(base))
        return self._map(scores + share[:, None] * self._effect_error, quantiles, floor)

    def _split_effect_error(
        self, base: np.ndarray, quantiles: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return how far scores are those of the base, and how far the error of an effect.

        Both (days,), the second signed; their squares add up to 1. Where the standard deviations
        are v and w, paths with a common part c differ by √(v² + w² - 2 c v w), which is to be the
        error.
        """
        unit = self._z[-1] - self._z[0]
        before, after = ((q[:, -1] - q[:, 0]) / unit for q in (base, quantiles))
        middle = int(np.argmin(np.abs(self._z)))
        effect = quantiles[:, middle] - base[:, middle]
        if np.isfinite(self.ranks.effect_error):
            error = self.ranks.effect_error * effect
        else:
            gained = np.sqrt(np.abs(after**2 - before**2))
            error = np.minimum(gained, np.abs(effect))
        both = 2 * before * after
        common = np.ones(len(base))
        np.divide(before**2 + after**2 - error**2, both, out=common, where=both > 0)
        common = np.clip(common, 0.0, 1.0)
        return common, np.sign(effect) * np.sqrt(1 - common**2)

    def _map(
        self, scores: np.ndarray, quantiles: np.ndarray, floor: float | np.ndarray
    ) -> np.ndarray:
        """Return the values (paths, days) at normal scores (days, paths) of a forecast."""
        slopes = np.diff(quantiles, axis=1) / np.diff(self._z)
        # A line, which bends at each inner level: faster than to look up the piece of each score.
        values = quantiles[:, :1] + slopes[:, :1] * (scores - self._z[0])
        for bend, z in zip(np.diff(slopes, axis=1).T, self._z[1:-1], strict=True):
            values += bend[:, None] * np.maximum(scores - z, 0.0)
        return np.maximum(values, floor, out=values).T

    def _scores(self, series: str, days: int) -> np.ndarray:
        """Return the normal scores of the paths of a series. (days, paths)"""
        codes, persistence, shared = self.ranks.codes, self.ranks.persistence, self.ranks.shared
        name = int.from_bytes(hashlib.sha256(series.encode()).digest()[:8], "big")
        rng = np.random.default_rng([self.seed, name])
        shift = rng.permutation(self._even)
        shift = np.sqrt(shared) * self._common_shift + np.sqrt(1 - shared) * shift
        column = self._column.get(series)
        if column is None:
            donors = rng.integers(codes.shape[1], size=self.paths)
            chosen = codes[self._origins, donors, :days].T
        else:
            chosen = codes[:, column, :days].T[:, self._origins]
        return (np.sqrt(1 - persistence) / CODES) * chosen + np.sqrt(persistence) * shift
