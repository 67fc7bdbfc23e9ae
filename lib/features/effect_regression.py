"""Regression of local deviations on basis functions, shrunk by what the data supports.

Deviations are ratios around 1, and effects multiply: a quasi-Poisson regression with a logarithmic
link (McCullagh & Nelder 1989, chapter 6), which a day near zero does not dominate. Where ratios
mean nothing, effects add. Columns are shrunk group by group by the evidence of the data (MacKay
1992; Tipping 2001, automatic relevance determination): a group that explains nothing gets weights
of zero. What a covariate as a whole is worth is measured on blocks of days that its weights have
not seen (stacking, Breiman 1996), and its weights are scaled accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

LARGEST = 3.0  # effect, as a logarithm
ITERATIONS = 4  # of the weights of the quasi-Poisson regression
UPDATES = 25  # of the shrinkage within each
SMALLEST_VARIANCE, LARGEST_VARIANCE, FIRST_VARIANCE = 1e-6, 10.0, 0.01


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


def regress(problem: Problem) -> tuple[np.ndarray, float]:
    """Return the shrunk weights (p,) and the variance of what is left."""
    scale = problem.columns.std(axis=0)
    live = scale > 1e-9
    unit = np.where(live, scale, 1.0)
    scaled = Problem(
        np.where(live, problem.columns / unit, 0.0),
        problem.deviations,
        problem.groups,
        problem.covariates,
        problem.block,
        problem.additive,
    )
    weights, variances, noise = _shrink(scaled)
    weights = weights * _gains(scaled, weights, variances, noise)[scaled.covariates]
    return np.where(live, weights / unit, 0.0), noise


def _shrink(problem: Problem) -> tuple[np.ndarray, np.ndarray, float]:
    """Return weights (p,), the prior variance of each (p,), and the variance of the noise."""
    groups = problem.groups
    size = np.bincount(groups)
    variances = np.full(len(size), FIRST_VARIANCE)
    weights = np.zeros(problem.columns.shape[1])
    noise = 1.0
    for iteration in range(1 if problem.additive else ITERATIONS):
        response, importance = problem.response(weights)
        weighted = problem.columns * importance[:, None]
        gram, moment = weighted.T @ problem.columns, weighted.T @ response
        total = float(importance @ response**2)
        noise = total / len(response) if iteration == 0 else noise
        for _ in range(UPDATES):
            covariance = np.linalg.inv(gram / noise + np.diag(1 / variances[groups]))
            weights = covariance @ moment / noise
            determined = size - np.bincount(groups, np.diag(covariance) / variances[groups])
            squares = np.bincount(groups, weights**2)
            variances = np.clip(
                (squares + 1e-12) / np.maximum(determined, 1e-6),
                SMALLEST_VARIANCE,
                LARGEST_VARIANCE,
            )
            left = total - 2 * weights @ moment + weights @ gram @ weights
            noise = max(float(left) / len(response), 1e-9)
    return weights, variances[groups], noise


def _gains(
    problem: Problem, weights: np.ndarray, variances: np.ndarray, noise: float
) -> np.ndarray:
    """Return by how much the effect of each covariate is worth on days held out, 0 to 1."""
    response, importance = problem.response(weights)
    count = int(problem.covariates.max()) + 1
    predicted = np.zeros((len(response), count))
    for block in np.unique(problem.block):
        out = problem.block == block
        known = problem.columns[~out]
        weighted = known * importance[~out, None]
        gram = weighted.T @ known / noise + np.diag(1 / variances)
        fitted = np.linalg.solve(gram, weighted.T @ response[~out] / noise)
        for k in range(count):
            chosen = problem.covariates == k
            predicted[out, k] = problem.columns[out][:, chosen] @ fitted[chosen]
    root = np.sqrt(importance)
    live = np.abs(predicted).max(axis=0) > 0
    gains = np.zeros(count)
    if live.any():
        bounded = lsq_linear(predicted[:, live] * root[:, None], response * root, (0.0, 1.0))
        gains[live] = bounded.x
    return gains


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
