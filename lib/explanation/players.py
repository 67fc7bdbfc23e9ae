"""Divide the inputs of a window among players: features, blocks of days, or both.

A feature has its column over the whole window, and what is known of it ahead: the day of the year
goes with the month, and last year's values go with `lag_1`, which carries the series.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lib.features import FEATURES, FUTURE

# First and last day before the first forecast day; the last block is open.
BLOCKS = ((1, 1), (2, 3), (4, 7), (8, 14), (15, 28), (29, 56), (57, 10_000))
DAYS_AHEAD = "ahead"
# Feature that a column of the known future goes with, where the names differ.
FEATURE_OF = {
    "day_of_year_sin": "mes_sin",
    "day_of_year_cos": "mes_cos",
    "last_year": "lag_1",
    "last_year_week": "lag_1",
    "last_year_level": "lag_1",
}

# The eleven features in words: their names are those of the API.
WORDS = {
    "dia_semana_sin": "weekday, sine",
    "dia_semana_cos": "weekday, cosine",
    "mes_sin": "month, sine",
    "mes_cos": "month, cosine",
    "media_movel_7": "mean of 7 days",
    "media_movel_30": "mean of 30 days",
    "desvio_movel_7": "spread of 7 days",
    "lag_1": "the day before",
    "lag_7": "a week before",
    "fator_externo": "external factor",
    "evento_especial": "special event",
}


class Players(NamedTuple):
    """Mark the inputs of each player; each input belongs to exactly one."""

    past: np.ndarray  # (players, days or 1, 11 or 1) bool
    ahead: np.ndarray  # (players, horizon or 1, len(FUTURE) or 1) bool


class Block(NamedTuple):
    """Name some days of a window; the block of the days ahead has no rows."""

    name: str
    rows: slice


def split_blocks(days: int) -> list[Block]:
    """Divide a window of some days into BLOCKS, the days ahead last.

    >>> [block.name for block in split_blocks(10)]
    ['1', '2-3', '4-7', '8-10', 'ahead']
    """
    blocks = []
    for first, last in BLOCKS:
        if first <= days:
            last = min(last, days)
            name = str(first) if first == last else f"{first}-{last}"
            blocks.append(Block(name, slice(days - last, days - first + 1)))
    return [*blocks, Block(DAYS_AHEAD, slice(0, 0))]


def feature_players() -> Players:
    """Let each feature be a player."""
    columns = [FEATURE_OF.get(name, name) for name in FUTURE]
    ahead = np.array([[column == name for column in columns] for name in FEATURES])
    return Players(np.eye(len(FEATURES), dtype=bool)[:, None], ahead[:, None])


def block_players(blocks: list[Block]) -> Players:
    """Let each block of days be a player."""
    days = max(block.rows.stop for block in blocks)
    past = np.zeros((len(blocks), days, 1), dtype=bool)
    ahead = np.zeros((len(blocks), 1, 1), dtype=bool)
    for i, block in enumerate(blocks):
        past[i, block.rows] = True
    ahead[-1] = True
    return Players(past, ahead)


def cell_players(blocks: list[Block]) -> Players:
    """Let each pair of a feature and a block be a player, feature by feature."""
    features, days = feature_players(), block_players(blocks)
    past = features.past[:, None] & days.past[None]  # (features, blocks, days, 11)
    ahead = features.ahead[:, None] & days.ahead[None]
    return Players(past.reshape(-1, *past.shape[2:]), ahead.reshape(-1, *ahead.shape[2:]))
