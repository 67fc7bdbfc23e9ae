"""Tell what covariates are worth on blocks of days that their weights have not seen.

Stacking (Breiman 1996, "Stacked regressions") of the effects of whole covariates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lib.features.shrinkage import FIRST_VARIANCE, Moments, determine

if TYPE_CHECKING:
    from lib.features.effect_regression import Problem

SWEEPS, PRECISION = 1_000, 1e-9  # of the coefficients of whole effects
ONE_BLOCK = 0.9  # of the variation of a covariate: of the rest, nothing can be learned


def weigh(
    problem: Problem, weights: np.ndarray, variances: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each effect that holds on days held out, 0 to 1, and what it is worth.

    Both are (K,); what it is worth is as in `Regression`. What has happened in one block alone, as
    where something has just begun, no other block can tell of: it is worth what each of its weights
    explains there.

    Args:
        problem: days to explain.
        weights: (p,), of all days.
        variances: of each group, of all days.
        noise: variance of what is left.
    """
    response, importance = problem.response(weights)
    parts = [np.flatnonzero(problem.block == block) for block in np.unique(problem.block)]
    blocks = [Moments.of(problem.columns[at], response[at], importance[at]) for at in parts]
    every = Moments(
        sum((block.gram for block in blocks), np.zeros(())),
        sum((block.moment for block in blocks), np.zeros(())),
        sum(block.total for block in blocks),
        len(response),
    )
    by_covariate = problem.covariates[:, None] == np.arange(problem.covariates.max() + 1)
    first, fixed = np.full(len(variances), FIRST_VARIANCE), np.diag(1 / variances[problem.groups])
    own, same = _Predictions.none(by_covariate), _Predictions.none(by_covariate)
    for block in blocks if len(blocks) > 1 else []:
        others = every.without(block)
        # Whether a covariate enters is judged without the block. By how much its weights count is
        # not: these are shrunk by all days, and fewer days would shrink them twice.
        own = own.add(determine(others, problem.groups, first)[0], block)
        same = same.add(np.linalg.solve(others.gram / noise + fixed, others.moment / noise), block)
    gains, worth = same.scale(), own.worth() / noise
    energy = np.stack([np.diag(block.gram) @ by_covariate for block in blocks])
    for k in np.flatnonzero(energy.max(axis=0) > ONE_BLOCK * energy.sum(axis=0)):
        alone = np.where(by_covariate[:, k], weights, 0.0)
        left = every.moment - every.gram @ (weights - alone)
        explained = _explained(alone, every.gram, left) / by_covariate[:, k].sum()
        gains[k], worth[k] = 1.0, explained / noise
    return gains, worth


@dataclass(frozen=True)
class _Predictions:
    """Predictions of blocks by weights of the other days, summed over the blocks.

    Attributes:
        by_covariate: (p, K) bool, which column is of which covariate.
        squares: (K, K), of what each covariate adds to the predictions.
        products: (K,), of that and what is to be predicted.
    """

    by_covariate: np.ndarray
    squares: np.ndarray
    products: np.ndarray

    @classmethod
    def none(cls, by_covariate: np.ndarray) -> _Predictions:
        """Return those of no block."""
        count = by_covariate.shape[1]
        return cls(by_covariate, np.zeros((count, count)), np.zeros(count))

    def add(self, weights: np.ndarray, block: Moments) -> _Predictions:
        """Return them with those of a block by weights (p,)."""
        each = self.by_covariate * weights[:, None]
        squares, products = each.T @ block.gram @ each, each.T @ block.moment
        return replace(self, squares=self.squares + squares, products=self.products + products)

    def scale(self) -> np.ndarray:
        """Return the coefficients of the covariates, 0 to 1, with the smallest errors. (K,)."""
        return bounded_least_squares(self.squares, self.products)

    def worth(self) -> np.ndarray:
        """Return by how much the squares of errors would be more without each covariate. (K,)."""
        scale, worth = self.scale(), np.zeros(len(self.products))
        for k in np.flatnonzero(scale):
            others = np.arange(len(scale)) != k
            kept, products = self.squares * others * others[:, None], self.products * others
            without = bounded_least_squares(kept, products, start=scale)
            worth[k] = _explained(scale, self.squares, self.products)
            worth[k] -= _explained(without, self.squares, self.products)
        return worth


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
