"""Compute Shapley and Owen values of any cooperative game, with NumPy alone.

A game values many coalitions at once, which is what makes the forecasts of a network a fast one.

References:
    Shapley, L. S. (1953). A value for n-person games. Contributions to the Theory of Games II.
    Owen, G. (1977). Values of games with a priori unions. Mathematical Economics and Game Theory.
    Castro, J., Gómez, D. and Tejada, J. (2009). Polynomial calculation of the Shapley value based
        on sampling. Computers & Operations Research 36(5).
    Mitchell, R., Cooper, J., Frank, E. and Holmes, G. (2022). Sampling permutations for Shapley
        value estimation. Journal of Machine Learning Research 23(43).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# Values of coalitions: (n, players) bool in, (n,) out.
Game = Callable[[np.ndarray], np.ndarray]


def exact_shapley(game: Game, players: int) -> np.ndarray:
    """Compute the Shapley values over all 2^players coalitions (Shapley 1953).

    φ_i = Σ_S |S|! (n - |S| - 1)! / n! · (v(S ∪ {i}) - v(S)) over the coalitions S without i.

    Args:
        game: values of coalitions, called once with all of them.
        players: number of players n.

    Returns:
        (players,), which sums to the value of all players less that of none.

    Two gloves make a pair, one left (player 0) and two right:

    >>> exact_shapley(lambda c: 1.0 * (c[:, 0] & (c[:, 1] | c[:, 2])), 3).round(3)
    array([0.667, 0.167, 0.167])
    """
    numbers = np.arange(2**players)
    coalitions = all_coalitions(players)
    values = game(coalitions)
    size = coalitions.sum(axis=1)
    # |S|! (n - |S| - 1)! / n!, by |S|; the coalition of all players lacks none
    weight = np.array([1 / (players * math.comb(players - 1, k)) for k in range(players)] + [0])
    shares = np.empty(players)
    for i in range(players):
        without = numbers[~coalitions[:, i]]
        gain = values[without | (1 << i)] - values[without]
        shares[i] = (weight[size[without]] * gain).sum()
    return shares


def all_coalitions(players: int) -> np.ndarray:
    """Return all coalitions of some players, player i by the i-th bit. (2^players, players)."""
    return (np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 1


def exact_product_shapley(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Compute the Shapley values where some players do no more than multiply what others make.

    The value of a coalition is `values` of those n players in it, times the factors of those K
    players in it. What a player adds depends then on the coalitions of the others by the sums of
    their products alone (elementary symmetric polynomials of the factors), so K may be large:
    2^n + K^2 numbers instead of 2^(n + K).

    Args:
        values: (2^n,) of all coalitions of the n players, as `all_coalitions` orders them.
        factors: (K,) above 0.

    Returns:
        (n + K,), which sums to the value of all players less that of none.

    >>> exact_product_shapley(np.array([2.0, 4.0]), np.array([1.5])).round(3)
    array([2.5, 1.5])
    """
    players = len(values).bit_length() - 1
    coalitions = all_coalitions(players)
    size = coalitions.sum(axis=1)
    every = players + len(factors)
    # (n, K + 1): of s others among the n and t among the K
    orders = np.add.outer(np.arange(players + 1), np.arange(len(factors) + 1))
    weight = np.array([1 / (every * math.comb(every - 1, k)) for k in range(every)] + [0.0])
    weight = weight[np.minimum(orders, every)]
    products = _symmetric_sums(factors)
    shares = np.empty(every)
    numbers = np.arange(2**players)
    for i in range(players):
        without = numbers[~coalitions[:, i]]
        gain = values[without | (1 << i)] - values[without]
        shares[i] = np.bincount(size[without], gain, players + 1) @ weight @ products
    by_size = np.bincount(size, values, players + 1)
    for j, factor in enumerate(factors):
        others = np.append(_symmetric_sums(np.delete(factors, j)), 0.0)
        shares[players + j] = (factor - 1) * (by_size @ weight @ others)
    return shares


def _symmetric_sums(factors: np.ndarray) -> np.ndarray:
    """Return the sums of the products of t factors, for t = 0 to all: (K + 1,)."""
    sums = np.ones(1)
    for factor in factors:
        sums = np.convolve(sums, (1.0, factor))
    return sums


def sampled_owen(
    game: Game, totals: np.ndarray, size: int, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Estimate Owen values (Owen 1977) from permutations and their reverses.

    Player `u * size + k` is member k of union u, and a permutation keeps each union together. The
    mean gains are sampled (Castro et al. 2009, in antithetic pairs as Mitchell et al. 2022). The
    sum over a union is known exactly and serves as control variate: what the sample misses of it
    is shared out among the members in proportion to the sizes of their gains.

    Args:
        game: values of coalitions of all unions' members.
        totals: (unions,) exact Shapley values of the unions.
        size: members of each union.
        permutations: pairs to draw, at least 1.
        rng: source of the permutations.

    Returns:
        (unions, size); each row sums to the total of its union.
    """
    unions = len(totals)
    gains = _sampled_gains(game, _antithetic_paths(unions, size, permutations, rng))
    gains = gains.reshape(-1, unions, size)
    shares, weight = gains.mean(axis=0), np.abs(gains).mean(axis=0)
    whole = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, whole, out=np.full_like(weight, 1 / size), where=whole > 0)
    return shares + weight * (totals - shares.sum(axis=1))[:, None]


def _antithetic_paths(
    unions: int, size: int, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw orders of the players, each followed by its reverse: (2 * permutations, players)."""
    paths = []
    for _ in range(permutations):
        members = [u * size + rng.permutation(size) for u in rng.permutation(unions)]
        order = np.concatenate(members)
        paths += [order, order[::-1]]
    return np.stack(paths)


def _sampled_gains(game: Game, paths: np.ndarray) -> np.ndarray:
    """Return what each player adds when it joins, by path: (paths, players) in and out."""
    count, players = paths.shape
    steps = np.arange(players + 1)[:, None]
    # (paths, players + 1, players): who has joined after each step
    joined = np.stack([np.argsort(path)[None] < steps for path in paths])
    values = game(joined.reshape(-1, players)).reshape(count, -1)
    gains = np.empty((count, players))
    np.put_along_axis(gains, paths, np.diff(values, axis=1), axis=1)
    return gains
