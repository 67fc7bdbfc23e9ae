"""Shrink the weights of a regression by the evidence of the data, group by group.

MacKay 1992, "Bayesian interpolation"; Tipping 2001, automatic relevance determination.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UPDATES = 25  # of the shrinkage
SMALLEST_NOISE = 1e-9  # of a constant series
SMALLEST_VARIANCE, LARGEST_VARIANCE, FIRST_VARIANCE = 1e-6, 10.0, 0.01


@dataclass(frozen=True)
class Moments:
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
    def of(cls, columns: np.ndarray, response: np.ndarray, importance: np.ndarray) -> Moments:
        """Return those of columns (n, p), response (n,) and importance (n,)."""
        weighted = columns * importance[:, None]
        gram, moment = weighted.T @ columns, weighted.T @ response
        return cls(gram, moment, float(importance @ response**2), len(response))

    def without(self, other: Moments) -> Moments:
        """Return those of the days that are not in a part of them."""
        return Moments(
            self.gram - other.gram,
            self.moment - other.moment,
            self.total - other.total,
            self.count - other.count,
        )


def determine(
    moments: Moments, groups: np.ndarray, variances: np.ndarray, noise: float | None = None
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
