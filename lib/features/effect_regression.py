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

LARGEST = 3.0  # effect, as a logarithm
ITERATIONS = 4  # of the weights of the quasi-Poisson regression
UPDATES = 25  # of the shrinkage within each
SMALLEST_NOISE = 1e-9  # of a constant series
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


def regress(problem: Problem, *, held_out: bool) -> tuple[np.ndarray, float]:
    """Return the shrunk weights (p,) and the variance of what is left.

    Args:
        problem: days to explain.
        held_out: whether to scale the effects by what they are worth on days held out.
    """
    scale = problem.columns.std(axis=0)
    unit = np.where(scale > 1e-9, scale, np.inf)
    scaled = replace(problem, columns=problem.columns / unit)
    weights, variances, noise = _shrink(scaled)
    if held_out:
        weights = weights * _gains(scaled, weights, variances, noise)[scaled.covariates]
    return weights / unit, noise


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
        noise = max(total / len(response), SMALLEST_NOISE) if iteration == 0 else noise
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
            noise = max(float(left) / len(response), SMALLEST_NOISE)
    return weights, variances[groups], noise


def _gains(
    problem: Problem, weights: np.ndarray, variances: np.ndarray, noise: float
) -> np.ndarray:
    """Return by how much the effect of each covariate is worth on days held out, 0 to 1."""
    response, importance = problem.response(weights)
    weighted = problem.columns * importance[:, None]
    parts = [np.flatnonzero(problem.block == block) for block in np.unique(problem.block)]
    grams = np.stack([weighted[rows].T @ problem.columns[rows] for rows in parts])
    moments = np.stack([weighted[rows].T @ response[rows] for rows in parts])
    by_covariate = problem.covariates[:, None] == np.arange(problem.covariates.max() + 1)
    # Of predictions of the blocks, each by the weights of the others: squares and moments.
    squares = np.zeros((by_covariate.shape[1],) * 2)
    products = np.zeros(by_covariate.shape[1])
    for gram, moment in zip(grams, moments, strict=True):
        known = (grams.sum(axis=0) - gram) / noise + np.diag(1 / variances)
        fitted = np.linalg.solve(known, (moments.sum(axis=0) - moment) / noise)
        each = by_covariate * fitted[:, None]  # (p, covariates)
        squares += each.T @ gram @ each
        products += each.T @ moment
    return bounded_least_squares(squares, products)


def bounded_least_squares(squares: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return the coefficients between 0 and 1 of normal equations, 0 where a column is zero."""
    from scipy.optimize import lsq_linear  # a fifth of a second, and only with covariates

    found = np.zeros(len(products))
    live = np.flatnonzero(np.diag(squares) > 1e-12)
    if len(live):
        values, vectors = np.linalg.eigh(squares[np.ix_(live, live)])
        root = np.sqrt(np.maximum(values, 1e-12 * values.max()))
        factor = root[:, None] * vectors.T
        found[live] = lsq_linear(factor, vectors.T @ products[live] / root, (0.0, 1.0)).x
    return found


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
