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
SWEEPS, PRECISION = 1_000, 1e-9  # of the coefficients of whole effects
ONE_BLOCK = 0.9  # of the variation of a covariate: of the rest, nothing can be learned
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
    weights, noise = _shrink(scaled)
    gains, worth = _weigh(scaled, weights, noise)
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


@dataclass(frozen=True)
class _Moments:
    """Sums over n days: all that a step of the regression needs to know of them.

    Attributes:
        gram: (p, p) of the weighted columns.
        moment: (p,) of columns and response.
        total: of the squares of the response.
        count: n.
    """

    gram: np.ndarray
    moment: np.ndarray
    total: float
    count: int

    @classmethod
    def of(cls, columns: np.ndarray, response: np.ndarray, importance: np.ndarray) -> _Moments:
        """Return those of columns (n, p), response (n,) and importance (n,)."""
        weighted = columns * importance[:, None]
        gram, moment = weighted.T @ columns, weighted.T @ response
        return cls(gram, moment, float(importance @ response**2), len(response))

    def without(self, other: _Moments) -> _Moments:
        """Return those of the days that are not in a part of them."""
        return _Moments(
            self.gram - other.gram,
            self.moment - other.moment,
            self.total - other.total,
            self.count - other.count,
        )


def _shrink(problem: Problem) -> tuple[np.ndarray, float]:
    """Return weights (p,) and the variance of the noise."""
    variances = np.full(problem.groups.max() + 1, FIRST_VARIANCE)
    weights = np.zeros(problem.columns.shape[1])
    noise = None
    for _ in range(1 if problem.additive else ITERATIONS):
        moments = _Moments.of(problem.columns, *problem.response(weights))
        weights, variances, noise = _determine(moments, problem.groups, variances, noise)
    return weights, noise or 1.0


def _determine(
    moments: _Moments, groups: np.ndarray, variances: np.ndarray, noise: float | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return weights (p,), the prior variance of each group, and the variance of the noise.

    Args:
        moments: of the days.
        groups: (p,) number of the group of each column.
        variances: of each group, to begin with.
        noise: to begin with; by default what the response varies by.
    """
    size = np.bincount(groups)
    gram, moment, total = moments.gram, moments.moment, moments.total
    noise = max(total / moments.count, SMALLEST_NOISE) if noise is None else noise
    weights = np.zeros(len(groups))
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
        noise = max(float(left) / moments.count, SMALLEST_NOISE)
    return weights, variances, noise


def _weigh(problem: Problem, weights: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each effect that holds on days held out, 0 to 1, and what it is worth.

    Both are (K,); what it is worth is as in `Regression`. What has happened in one block alone, as
    where something has just begun, no other block can tell of: it is worth what each of its weights
    explains there.
    """
    response, importance = problem.response(weights)
    parts = [np.flatnonzero(problem.block == block) for block in np.unique(problem.block)]
    blocks = [_Moments.of(problem.columns[at], response[at], importance[at]) for at in parts]
    every = _Moments(
        sum((block.gram for block in blocks), np.zeros(())),
        sum((block.moment for block in blocks), np.zeros(())),
        sum(block.total for block in blocks),
        len(response),
    )
    first = np.full(problem.groups.max() + 1, FIRST_VARIANCE)
    by_covariate = problem.covariates[:, None] == np.arange(problem.covariates.max() + 1)
    # Of predictions of the blocks, each by weights and shrinkage of the others.
    squares = np.zeros((by_covariate.shape[1],) * 2)
    products = np.zeros(by_covariate.shape[1])
    for block in blocks if len(blocks) > 1 else []:
        fitted, _, _ = _determine(every.without(block), problem.groups, first)
        each = by_covariate * fitted[:, None]  # (p, covariates)
        squares += each.T @ block.gram @ each
        products += each.T @ block.moment
    gains = bounded_least_squares(squares, products)
    worth = np.zeros(len(gains))
    for k in np.flatnonzero(gains):
        others = np.arange(len(gains)) != k
        kept = squares * others * others[:, None]
        without = bounded_least_squares(kept, products * others, start=gains)
        worth[k] = _explained(gains, squares, products) - _explained(without, squares, products)
    energy = np.stack([np.diag(block.gram) @ by_covariate for block in blocks])
    for k in np.flatnonzero(energy.max(axis=0) > ONE_BLOCK * energy.sum(axis=0)):
        own = np.where(by_covariate[:, k], weights, 0.0)
        left = every.moment - every.gram @ (weights - own)
        gains[k], worth[k] = 1.0, _explained(own, every.gram, left) / by_covariate[:, k].sum()
    return gains, worth / noise


def _explained(weights: np.ndarray, squares: np.ndarray, products: np.ndarray) -> float:
    """Return by how much predictions with some weights lessen the squares of errors."""
    return float(2 * weights @ products - weights @ squares @ weights)


def bounded_least_squares(
    squares: np.ndarray, products: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Return the coefficients between 0 and 1 of normal equations, 0 where a column is zero.

    By coordinate descent: there are few coefficients, and SciPy's solver would take a fifth of a
    second to import.

    Args:
        squares: (K, K).
        products: (K,).
        start: (K,), near the solution; by default ones.

    Example:
        >>> squares = np.array([[2.0, 1.0], [1.0, 2.0]])
        >>> bounded_least_squares(squares, np.array([3.0, 0.9])).tolist()
        [1.0, 0.0]
    """
    live = np.flatnonzero(np.diag(squares) > 1e-12)
    found = np.zeros(len(products))
    found[live] = 1.0 if start is None else start[live]
    for _ in range(SWEEPS):
        largest = 0.0
        for k in live:
            step = (products[k] - squares[k] @ found) / squares[k, k]
            value = min(max(found[k] + step, 0.0), 1.0)
            largest, found[k] = max(largest, abs(value - found[k])), value
        if largest < PRECISION:
            break
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
