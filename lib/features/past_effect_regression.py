"""Regression of the days ahead on recent days of past covariates, shrunk by what the data supports.

Each day ahead has weights of its own, since each knows other lags. Weights of the same lag are
shrunk alike on all days ahead, by the evidence of the data (as in `effect_regression`). What a
covariate is worth in the first, the second and the later weeks is measured on blocks of days held
out. It has to be worth something in most of them: errors of neighbouring days depend on each other,
and one block would say that noise is good for something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.features.held_out_worth import bounded_least_squares
from lib.features.past_effects import COLUMNS, LAGS
from lib.features.shrinkage import (
    FIRST_VARIANCE,
    LARGEST_VARIANCE,
    SMALLEST_NOISE,
    SMALLEST_VARIANCE,
    UPDATES,
)

BLOCKS = 6  # of days that are held out in turn
PARTS = (7, 14)  # last days of the parts of the horizon, but for the last part
DOUBT = 6.0  # squared standard errors that a worth of nothing is away from one of something


@dataclass(frozen=True)
class HorizonProblem:
    """n origins with H days ahead, to explain by the last days of C signals.

    Attributes:
        columns: (n, C, COLUMNS), as `Signal.news` returns them.
        shown: (C, COLUMNS, COLUMNS) what the series show of them.
        ahead: (n, H) deviations of the days ahead, NaN where missing.
        block: (n, H) number of the block of days.
        covariates: (C,) number of the covariate of each signal.
    """

    columns: np.ndarray
    shown: np.ndarray
    ahead: np.ndarray
    block: np.ndarray
    covariates: np.ndarray


@dataclass(frozen=True)
class _Products:
    """Normal equations of H days ahead with p columns, perhaps by block in a first dimension.

    Attributes:
        gram: (..., H, p, p).
        moment: (..., H, p).
        total: (..., H) squares of the response.
        count: (..., H) rows.
    """

    gram: np.ndarray
    moment: np.ndarray
    total: np.ndarray
    count: np.ndarray

    def sum(self) -> _Products:
        """Return those of all blocks."""
        return _Products(*(part.sum(axis=0) for part in vars(self).values()))

    def without(self, number: int) -> _Products:
        """Return those of all blocks but one."""
        return _Products(*(part.sum(axis=0) - part[number] for part in vars(self).values()))

    def solve(self, noise: np.ndarray, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (H, p) under a noise (H,) and prior variances (H, p), and their spread."""
        at = np.arange(self.moment.shape[-1])
        precision = self.gram / noise[:, None, None]
        precision[:, at, at] += 1 / variances
        covariance = np.linalg.inv(precision)
        weights = np.einsum("hpq,hq->hp", covariance, self.moment) / noise[:, None]
        return weights, covariance[:, at, at]


def regress_ahead(problem: HorizonProblem) -> np.ndarray:
    """Return the shrunk weights of the signals, (C, H, COLUMNS)."""
    horizon, signals = problem.ahead.shape[1], len(problem.covariates)
    columns = problem.columns.reshape(len(problem.columns), -1)
    scale = columns.std(axis=0)
    unit = np.where(scale > 1e-9, scale, np.inf)
    blocks = _multiply(columns / unit, problem.ahead, problem.block)
    groups = _number_groups(problem.covariates, horizon)
    owners = np.repeat(problem.covariates, COLUMNS)
    weights = _shrink(blocks.sum(), groups)
    weights = weights * _worth(blocks, groups, owners)[:, owners] / unit
    return weights.reshape(horizon, signals, COLUMNS).transpose(1, 0, 2)


def _multiply(columns: np.ndarray, ahead: np.ndarray, block: np.ndarray) -> _Products:
    """Return the normal equations of each block and day ahead."""
    shape = (BLOCKS, ahead.shape[1])
    size = columns.shape[1]
    found = _Products(
        np.zeros((*shape, size, size)), np.zeros((*shape, size)), np.zeros(shape), np.zeros(shape)
    )
    for day in range(shape[1]):
        for number in range(BLOCKS):
            rows = np.isfinite(ahead[:, day]) & (block[:, day] == number)
            part, response = columns[rows], ahead[rows, day]
            found.gram[number, day] = part.T @ part
            found.moment[number, day] = response @ part
            found.total[number, day] = response @ response
            found.count[number, day] = len(response)
    return found


def _number_groups(covariates: np.ndarray, horizon: int) -> np.ndarray:
    """Return the number of the group of each weight, (H, C * COLUMNS).

    A lag is counted from the day that is forecast, so that it is the same from each origin. Means
    have a group in each part of the horizon.
    """
    day = np.arange(1, horizon + 1)[:, None]
    means = COLUMNS - LAGS
    lags = day - 1 + np.arange(LAGS)
    later = horizon + LAGS + means * np.searchsorted(PARTS, day) + np.arange(means)
    each = np.concatenate([lags, later], axis=1)
    groups = np.concatenate([each + (each.max() + 1) * k for k in covariates], axis=1)
    return np.unique(groups, return_inverse=True)[1].reshape(groups.shape)


def _shrink(products: _Products, groups: np.ndarray) -> np.ndarray:
    """Return the weights (H, p), shrunk by group."""
    size = np.bincount(groups.ravel())
    variances = np.full(len(size), FIRST_VARIANCE)
    count = np.maximum(products.count, 1)
    noise = np.maximum(products.total / count, SMALLEST_NOISE)
    weights = np.zeros(groups.shape)
    for _ in range(UPDATES):
        weights, spread = products.solve(noise, variances[groups])
        determined = size - np.bincount(groups.ravel(), (spread / variances[groups]).ravel())
        squares = np.bincount(groups.ravel(), (weights**2).ravel())
        variances = np.clip(
            (squares + 1e-12) / np.maximum(determined, 1e-6), SMALLEST_VARIANCE, LARGEST_VARIANCE
        )
        left = products.total - 2 * (weights * products.moment).sum(axis=1)
        left += np.einsum("hp,hpq,hq->h", weights, products.gram, weights, optimize=True)
        noise = np.maximum(left / count, SMALLEST_NOISE)
    return weights


def _worth(blocks: _Products, groups: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return by how much the effect of each covariate is worth on days held out. (H, K), 0 to 1."""
    horizon = len(groups)
    by_covariate = owners[:, None] == np.arange(owners.max() + 1)
    squares, products = [], []
    for number, (gram, moment) in enumerate(zip(blocks.gram, blocks.moment, strict=True)):
        weights = _shrink(blocks.without(number), groups)
        each = by_covariate * weights[:, :, None]  # (H, p, K)
        squares.append(np.einsum("hpk,hpq,hql->hkl", each, gram, each, optimize=True))
        products.append(np.einsum("hpk,hp->hk", each, moment))
    worth = np.zeros((horizon, by_covariate.shape[1]))
    part = np.searchsorted(PARTS, np.arange(1, horizon + 1))
    for number in np.unique(part):
        days = part == number
        worth[days] = _trusted(
            np.stack(squares)[:, days].sum(axis=1), np.stack(products)[:, days].sum(axis=1)
        )
    return worth


def _trusted(squares: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return the coefficients, 0 to 1, of K effects on B blocks, less where blocks disagree. (K,).

    Args:
        squares: (B, K, K).
        products: (B, K).
    """
    found = bounded_least_squares(squares.sum(axis=0), products.sum(axis=0))
    own = np.diagonal(squares, axis1=1, axis2=2)
    error = products - squares @ found  # what is left of each, 0 in the sum unless bounded
    error = error - own / np.maximum(own.sum(axis=0), 1e-12) * error.sum(axis=0)
    blocks = len(own)
    variance = (
        blocks / (blocks - 1) * (error**2).sum(axis=0) / np.maximum(own.sum(axis=0), 1e-12) ** 2
    )
    trust = 1 - DOUBT * variance / np.maximum(found, 1e-12) ** 2
    return np.where(found > 0, found * np.maximum(trust, 0.0), 0.0)
