"""Stability: how much the forecast of a day moves from one forecast of it to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.monitoring.results import Result


@dataclass(frozen=True)
class Stability(Result):
    """How far forecasts of the same day of a series lie apart, one after the other.

    Attributes:
        revisions: pairs of one forecast and the next, of the same model version.
        moved: sum of all moves of the median over the sum of the medians, per cent; NaN without a
            revision.
        bias: the same with signs: above 0 where forecasts rise as their day comes nearer.
        largest: the largest move beside the width of the 80 % interval before it, of
            `largest_series` on `largest_day` (ISO); NaN where intervals are unknown.
    """

    revisions: int
    moved: float
    bias: float
    largest: float
    largest_series: str
    largest_day: str


def measure_stability(
    forecasts: pd.DataFrame, first: np.datetime64, last: np.datetime64
) -> Stability:
    """Measure how forecasts of the target days `first` to `last` moved. Pure.

    Args:
        forecasts: series_id, date, horizon (days), model_version, q0.5; q0.1 and q0.9 where known.
        first: first target day.
        last: last target day.

    >>> days = pd.to_datetime(["2026-01-05"] * 2)
    >>> table = pd.DataFrame({"series_id": "a", "date": days, "horizon": [2, 1]})
    >>> table = table.assign(model_version=1, **{"q0.5": [100.0, 110.0]})
    >>> day = np.datetime64("2026-01-05")
    >>> round(measure_stability(table, day, day).moved, 2)
    9.09
    """
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    chosen = forecasts[(date >= first) & (date <= last)]
    series, names = pd.factorize(chosen["series_id"])
    day = chosen["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    version = chosen["model_version"].to_numpy(np.int64)
    order = np.lexsort((-chosen["horizon"].to_numpy(np.int64), day, series, version))
    median = chosen["q0.5"].to_numpy(np.float64)[order]
    keys = np.stack([version, series, day])[:, order]
    is_next = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
    move = np.where(is_next, median[1:] - median[:-1], np.nan)
    is_next &= np.isfinite(move)
    if not is_next.any():
        return Stability(0, math.nan, math.nan, math.nan, "", "")
    move, level = move[is_next], float(np.abs(median[1:][is_next]).sum())
    shares = np.array([np.abs(move).sum(), move.sum()])
    with np.errstate(invalid="ignore", divide="ignore"):
        moved, bias = 100 * shares / level if level else (math.nan, math.nan)
        beside = np.abs(move) / _width_before(chosen, order)[is_next]
    beside[~np.isfinite(beside)] = -1.0
    worst = int(beside.argmax())
    place = np.flatnonzero(is_next)[worst]
    is_known = beside[worst] >= 0
    return Stability(
        revisions=len(move),
        moved=float(moved),
        bias=float(bias),
        largest=float(beside[worst]) if is_known else math.nan,
        largest_series=str(names[keys[1, place]]) if is_known else "",
        largest_day=str(np.datetime64(int(keys[2, place]), "D")) if is_known else "",
    )


def _width_before(chosen: pd.DataFrame, order: np.ndarray) -> np.ndarray:
    """Return the width of the 80 % interval of each forecast but the last, in this order."""
    if not {"q0.1", "q0.9"} <= set(chosen):
        return np.full(max(0, len(order) - 1), np.nan)
    low, high = (chosen[name].to_numpy(np.float64)[order] for name in ("q0.1", "q0.9"))
    return (high - low)[:-1]
