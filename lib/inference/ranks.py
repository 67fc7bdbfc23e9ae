"""Keep where the truth fell in past forecasts, so that paths depend on each other as it did.

A rank is the probability that a forecast gave to a value as low as the one that came true. All
ranks of one forecast origin, over days and series, are kept together: the dependence between them
is that of the data (an empirical copula; Clark et al. 2004, "The Schaake shuffle", and Schefzik,
Thorarinsdottir & Gneiting 2013, "Uncertainty quantification in complex simulation models using
ensemble copula coupling"). Ranks are written as normal scores, the quantiles of a standard normal
distribution at their probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

CODES = 36  # steps of a normal score: 127 / 36 = 3.5 is the largest one kept
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Ranks:
    """The ranks of the truth in past forecasts, as normal scores.

    Over the origins the scores of each series and day are standard normal, so that paths drawn
    from them have the quantiles of the forecast. What ranking by series takes away, errors that
    lasted through all origins, is put back as a shift that all days of a path share.

    Attributes:
        ids: (S,) names of the series.
        codes: (origins, S, horizon) int8, normal scores times CODES.
        persistence: share of the variance of a score that all days of a path share, 0 to 1.
        shared: share of that shift that all series have in common, 0 to 1.
        effect_error: standard error of the effect of known-future covariates, as a share of the
            effect; NaN where it could not be measured.
    """

    ids: tuple[str, ...]
    codes: np.ndarray
    persistence: float
    shared: float
    effect_error: float = float("nan")

    def write(self, path: Path) -> None:
        """Write the ranks to one file, numpy arrays without objects."""
        np.savez_compressed(
            path,
            ids=np.array(self.ids, dtype="U"),
            codes=self.codes,
            shift=np.array([self.persistence, self.shared, self.effect_error]),
        )

    @classmethod
    def read(cls, path: Path) -> Ranks:
        """Read what `write` wrote."""
        with np.load(path) as arrays:
            return cls(tuple(arrays["ids"].tolist()), arrays["codes"], *arrays["shift"].tolist())


def normal_scores(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the quantiles of the standard normal distribution at some levels.

    >>> normal_scores((0.1, 0.5, 0.9)).round(2)
    array([-1.28,  0.  ,  1.28])
    """
    return np.array([_NORMAL.inv_cdf(level) for level in levels])


def score_actuals(
    quantiles: np.ndarray, actual: np.ndarray, levels: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Return where actuals fell in their forecasts, as normal scores.

    Between two levels the score is linear in the value; beyond the outer ones it goes on with the
    slope of the last two. A value that several levels share, such as zero sales, gets a score at
    random among theirs.

    Args:
        quantiles: (..., levels), rising.
        actual: (...), NaN where missing.
        levels: of the quantiles.
        rng: for values that several levels share.

    Returns:
        (...), NaN where missing.

    >>> rng = np.random.default_rng(0)
    >>> score_actuals(np.array([8.0, 10.0, 12.0]), np.array(10.0), (0.1, 0.5, 0.9), rng).round(6)
    np.float64(0.0)
    """
    z = normal_scores(levels)
    last = len(z) - 1
    piece = np.clip((quantiles <= actual[..., None]).sum(axis=-1) - 1, 0, last - 1)
    low = np.take_along_axis(quantiles, piece[..., None], -1)[..., 0]
    high = np.take_along_axis(quantiles, piece[..., None] + 1, -1)[..., 0]
    width = high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(width > 0, (actual - low) / width, 0.5)
    score = z[piece] + share * np.diff(z)[piece]
    tied = quantiles == actual[..., None]
    probabilities = np.array(levels)
    # The mass of a value that is the lowest quantile goes down to probability 0.
    first = tied.argmax(axis=-1)
    lower = np.where(first > 0, probabilities[first], 0.0)
    upper = probabilities[last - tied[..., ::-1].argmax(axis=-1)]
    several = tied.sum(axis=-1) > 1
    drawn = lower + (upper - lower) * rng.random(actual.shape)
    score = np.where(several, _inverse_normal(drawn), score)
    return np.where(np.isfinite(actual), score, np.nan)[()]


def _inverse_normal(probabilities: np.ndarray) -> np.ndarray:
    table = np.linspace(1e-4, 1 - 1e-4, 2001)
    return np.interp(probabilities, table, normal_scores(table))
