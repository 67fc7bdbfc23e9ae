"""The equal mixture of generators, and what is done to any of their worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lib.data import Panel
from lib.training.worlds.counts import draw_counts
from lib.training.worlds.demand import draw_demand
from lib.training.worlds.processes import draw_diffusion, draw_kernels, draw_sarima, draw_steps
from lib.training.worlds.regular import draw_driven, draw_regular, draw_trend_season
from lib.training.worlds.world import SERIES_PER_WORLD, World, log_uniform, without_covariates

Generator = Callable[[np.random.Generator, np.ndarray, int], World]
GENERATORS: dict[str, Generator] = {
    "demand": draw_demand,
    "regular": draw_regular,
    "kernels": draw_kernels,
    "sarima": draw_sarima,
    "trend_season": draw_trend_season,
    "diffusion": draw_diffusion,
    "steps": draw_steps,
    "counts": draw_counts,
    "driven": draw_driven,
}
MIN_DAYS, MAX_DAYS = 420, 1150
# Generators without a calendar: time may run backwards or in longer steps.
TIMELESS = ("kernels", "diffusion")
FLIP_PROB, REVERSE_PROB, STRIDE_PROB, MIX_PROB = 0.1, 0.3, 0.15, 0.1


def draw_world(seed: int, generator: str) -> Panel:
    """Return the series of one world: 420 to 1,150 days, in arbitrary units.

    Args:
        seed: of all draws.
        generator: a name in GENERATORS.

    Examples:
        >>> draw_world(3, "counts").n_series
        6
    """
    rng = np.random.default_rng([seed, 1])
    days = np.datetime64("1990-01-01") + rng.integers(12_000)
    days = days + np.arange(rng.integers(MIN_DAYS, MAX_DAYS + 1))
    world = _draw(rng, days, generator)
    if rng.random() < MIX_PROB:
        world = _mix(rng, world, _draw(rng, days, str(rng.choice(list(GENERATORS)))))
    values = world.values * log_uniform(rng, 0.1, 1e4)
    values[_draw_gaps(rng, values.shape)] = np.nan
    count = len(values)
    return Panel(
        ids=tuple(f"series_{number}" for number in range(count)),
        offsets=np.arange(count + 1, dtype=np.int64) * len(days),
        dates=np.tile(days, count),
        values=values.ravel(),
        factor=world.factor.ravel(),
        event=world.event.ravel(),
    )


def draw_worlds(count: int, seed: int, generators: Sequence[str] = tuple(GENERATORS)) -> Panel:
    """Return the series of `count` worlds in one panel.

    Args:
        count: of worlds.
        seed: of the first; each next world has the next seed and the next generator.
        generators: names, in turn.
    """
    names = [generators[number % len(generators)] for number in range(count)]
    panels = [draw_world(seed + number, name) for number, name in enumerate(names)]
    ends = np.cumsum([len(panel.values) for panel in panels])
    starts = [0, *ends[:-1]]
    parts = [p.offsets[1:] + start for p, start in zip(panels, starts, strict=True)]
    ids = [f"{n}_{name}_{i}" for n, name in enumerate(names) for i in panels[n].ids]
    return Panel(
        ids=tuple(ids),
        offsets=np.concatenate([[0], *parts]).astype(np.int64),
        dates=np.concatenate([panel.dates for panel in panels]),
        values=np.concatenate([panel.values for panel in panels]),
        factor=np.concatenate([panel.factor for panel in panels]),
        event=np.concatenate([panel.event for panel in panels]),
    )


def _draw(rng: np.random.Generator, days: np.ndarray, generator: str) -> World:
    """Draw a world, sometimes with the signs, the direction or the pace of time changed."""
    draw = GENERATORS[generator]
    if generator not in TIMELESS:
        world = draw(rng, days, SERIES_PER_WORLD)
    else:
        stride = int(rng.integers(2, 4)) if rng.random() < STRIDE_PROB else 1
        longer = days[0] + np.arange(len(days) * stride)
        values = draw(rng, longer, SERIES_PER_WORLD).values[:, ::stride]
        if rng.random() < REVERSE_PROB:
            values = values[:, ::-1].copy()
        world = without_covariates(values)
    if generator != "counts" and rng.random() < FLIP_PROB:
        return World(-world.values, world.factor, world.event)
    return world


def _mix(rng: np.random.Generator, one: World, other: World) -> World:
    """Return the weighted sum of two worlds, with the covariates of the first."""
    weight = rng.uniform(0.3, 0.7)
    parts = [
        share
        * world.values
        / np.maximum(np.nanmean(np.abs(world.values), axis=1, keepdims=True), 1e-9)
        for share, world in ((weight, one), (1 - weight, other))
    ]
    return World(parts[0] + parts[1], one.factor, one.event)


def _draw_gaps(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return which days are missing, as in real data: (series, days) bool.

    Nothing, single days, blocks of days, a weekday that is never recorded, or months at once.
    """
    missing = np.zeros(shape, bool)
    kind = rng.random()
    days = np.arange(shape[1])
    if kind < 0.55:
        return missing
    if kind < 0.75:
        missing |= rng.random(shape) < log_uniform(rng, 0.002, 0.1)
    elif kind < 0.87:
        for row in missing:
            for start in rng.integers(0, shape[1], rng.integers(1, 12)):
                row[start : start + rng.integers(2, 15)] = True
    elif kind < 0.93:
        missing |= days % 7 == rng.integers(7)
    else:
        for row in missing:
            start = rng.integers(0, shape[1])
            row[start : start + rng.integers(30, 200)] = True
    return missing
