"""Regression of local deviations on basis functions, shrunk by what the data supports.

Deviations are ratios around 1, and effects multiply: a quasi-Poisson regression with a logarithmic
link (McCullagh & Nelder 1989, chapter 6), which a day near zero does not dominate. Where ratios
mean nothing, effects add. Columns are shrunk group by group by the evidence of the data (MacKay
1992; Tipping 2001, automatic relevance determination): a group that explains nothing gets weights
of zero. What a covariate as a whole is worth is measured on blocks of days that its weights have
not seen (stacking, Breiman 1996), and its weights are scaled accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib.features.held_out_worth import bounded_least_squares, weigh
from lib.features.shrinkage import (
    FIRST_VARIANCE,
    LARGEST_VARIANCE,
    SMALLEST_VARIANCE,
    UPDATES,
    Moments,
    determine,
)

LARGEST = 3.0  # effect, as a logarithm
ITERATIONS = 4  # of the weights of the quasi-Poisson regression


@dataclass(frozen=True)
class Problem:
    """n days to explain by p columns.

    Attributes:
        columns: (n, p), without unit.
        deviations: (n,), about 1.
        groups: (p,) number of the group of each column, shrunk alike.
        covariates: (p,) number of the covariate of each column.
        block: (n,) number of the block of days of each row.
        additive: whether effects add instead of multiply.
    """

    columns: np.ndarray
    deviations: np.ndarray
    groups: np.ndarray
    covariates: np.ndarray
    block: np.ndarray
    additive: bool

    def response(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the working response and the importance of each day. Two (n,)."""
        if self.additive:
            return self.deviations - 1, np.ones(len(self.deviations))
        effect = np.clip(self.columns @ weights, -LARGEST, LARGEST)
        expected = np.exp(effect)
        return effect + (self.deviations - expected) / expected, expected


@dataclass(frozen=True)
class Regression:
    """What a regression of K covariates has found.

    Attributes:
        weights: (p,), shrunk, and scaled by what the covariates are worth on days held out.
        noise: variance of what is left.
        worth: (K,), by how much more the squares of errors on days held out would be without a
            covariate, in variances of the noise.
    """

    weights: np.ndarray
    noise: float
    worth: np.ndarray


def regress(problem: Problem) -> Regression:
    """Learn weights from days, and scale them by what they are worth on days held out."""
    scaled, unit = _scale(problem)
    weights, variances, noise = _shrink(scaled)
    gains, worth = weigh(scaled, weights, variances, noise)
    return Regression(weights * gains[scaled.covariates] / unit, noise, worth)


def regress_in_sample(problem: Problem) -> np.ndarray:
    """Return the shrunk weights (p,), whatever they are worth on other days."""
    scaled, unit = _scale(problem)
    return _shrink(scaled)[0] / unit


def _scale(problem: Problem) -> tuple[Problem, np.ndarray]:
    """Return the problem with columns of unit variance, and what they were divided by, (p,)."""
    scale = problem.columns.std(axis=0)
    unit = np.where(scale > 1e-9, scale, np.inf)
    return replace(problem, columns=problem.columns / unit), unit


def _shrink(problem: Problem) -> tuple[np.ndarray, np.ndarray, float]:
    """Return weights (p,), the prior variance of each group, and the variance of the noise."""
    variances = np.full(problem.groups.max() + 1, FIRST_VARIANCE)
    weights = np.zeros(problem.columns.shape[1])
    noise = None
    for _ in range(1 if problem.additive else ITERATIONS):
        moments = Moments.of(problem.columns, *problem.response(weights))
        weights, variances, noise = determine(moments, problem.groups, variances, noise)
    return weights, variances, noise or 1.0


def shrink_to_one(columns: np.ndarray, response: np.ndarray, deviation: float) -> np.ndarray:
    """Return coefficients between 0 and 1 that are 1 where the data says little.

    Args:
        columns: (n, K).
        response: (n,); the largest five per cent on either side are pulled in, but not below what
            coefficients of 1 explain: what has begun but once is no outlier.
        deviation: prior standard deviation of a coefficient around 1.

    Returns:
        (K,), by a ridge regression towards 1.
    """
    low, high = np.quantile(response, [0.05, 0.95])
    explained = columns.sum(axis=1)
    response = np.clip(response, np.minimum(low, explained), np.maximum(high, explained))
    noise = float(np.var(response)) or 1.0
    squares, products = columns.T @ columns / noise, columns.T @ response / noise
    prior = 1 / deviation**2
    return bounded_least_squares(squares + prior * np.eye(len(products)), products + prior)


def regress_by_series(gram: np.ndarray, moment: np.ndarray, noise: float) -> np.ndarray:
    """Return what each series adds to the common weights, shrunk by how much series differ.

    A regression with random coefficients; their variance is estimated from all series (EM).

    Args:
        gram: (S, q, q) of the columns of each series.
        moment: (S, q) of columns and residuals of the common regression.
        noise: variance of the residuals.

    Returns:
        (S, q).
    """
    gram, moment = gram / noise, moment / noise
    variance = np.full(moment.shape[1], FIRST_VARIANCE)
    own = np.zeros_like(moment)
    for _ in range(UPDATES):
        covariance = np.linalg.inv(gram + np.diag(1 / variance))
        own = np.einsum("spq,sq->sp", covariance, moment)
        spread = own**2 + np.diagonal(covariance, axis1=1, axis2=2)
        variance = np.clip(spread.mean(axis=0), SMALLEST_VARIANCE, LARGEST_VARIANCE)
    return own
