"""Paired timing: A B A B in one process, medians, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def paired(
    ours: Callable[[], object], peers: dict[str, Callable[[], object]], rounds: int
) -> tuple[float, dict[str, float]]:
    """Return the median seconds of ours and of each peer, timed in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    for _ in range(rounds):
        seconds["ours"].append(seconds_of(ours))
        for name, work in peers.items():
            seconds[name].append(seconds_of(work))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return medians.pop("ours"), medians


def row(name: str, ours: float, peer: float, peer_name: str, unit: str, *, more: bool) -> Row:
    """Return one result; with `more`, larger is better. A ratio above 1 means ours is better."""
    ratio = ours / peer if more else peer / ours
    return {
        "name": name,
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "peer_name": peer_name,
        "unit": unit,
        "ratio": round(ratio, 3),
    }
