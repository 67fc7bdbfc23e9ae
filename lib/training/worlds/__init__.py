"""Synthetic worlds to pretrain on: panels of a few series, from an equal mixture of generators."""

from lib.training.worlds.mixture import GENERATORS, draw_world, draw_worlds
from lib.training.worlds.world import SERIES_PER_WORLD, World

__all__ = ["GENERATORS", "SERIES_PER_WORLD", "World", "draw_world", "draw_worlds"]
