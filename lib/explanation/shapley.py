"""Shapley and Owen values of any cooperative game, by numpy alone.

A game is a function of coalitions, called with many at once: that is what makes a network's
forecasts a fast one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# Outputs of coalitions: (m, players) bool → (m,).
Game = Callable[[np.ndarray], np.ndarray]


def exact_shapley(game: Game, players: int) -> np.ndarray:
    """Shapley values over all 2^players coalitions. → (players,)."""
    numbers = np.arange(2**players)
    coalitions = (numbers[:, None] >> np.arange(players)) & 1 == 1
    values = game(coalitions)
    size = coalitions.sum(axis=1)
    weight = np.array(
        [
            1 / (players * math.comb(players - 1, k)) if k < players else 0
            for k in range(players + 1)
        ]
    )
    shares = np.empty(players)
    for i in range(players):
        without = numbers[~coalitions[:, i]]
        gain = values[without | (1 << i)] - values[without]
        shares[i] = (weight[size[without]] * gain).sum()
    return shares


def sampled_owen(
    game: Game, totals: np.ndarray, size: int, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Owen values from pairs of a permutation and its reverse. → (unions, size).

    Player `u * size + k` is member k of union u; a permutation keeps each union together. The
    mean gains of a union are sampled, their sum is known exactly and serves as control variate:
    what the sample misses of it goes to the members in proportion to the sizes of their gains.

    Args:
        totals: (unions,) exact Shapley values of the unions; each row of the result sums to its.
        permutations: pairs to draw, at least 1.
    """
    unions = len(totals)
    players = unions * size
    steps = np.arange(players + 1)[:, None]
    paths = []
    for _ in range(permutations):
        members = [u * size + rng.permutation(size) for u in rng.permutation(unions)]
        order = np.concatenate(members)
        paths += [order, order[::-1]]
    # (paths, players + 1, players): who has joined after each step
    joined = np.stack([np.argsort(path)[None] < steps for path in paths])
    values = game(joined.reshape(-1, players)).reshape(len(paths), -1)
    gains = np.empty((len(paths), players))
    np.put_along_axis(gains, np.stack(paths), np.diff(values, axis=1), axis=1)
    gains = gains.reshape(-1, unions, size)
    shares, weight = gains.mean(axis=0), np.abs(gains).mean(axis=0)
    whole = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, whole, out=np.full_like(weight, 1 / size), where=whole > 0)
    return shares + weight * (totals - shares.sum(axis=1))[:, None]
