"""Score totals over days and series in a backtest, beside two simpler ways to make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data import Panel
from lib.evaluation import metrics
from lib.evaluation.scores import Backtest
from lib.inference import DayRange, PathSampler, Ranks, read_ranges

PATHS = 500  # of each forecast
WHOLE, INDEPENDENT, ADDED = "whole origins", "independent days", "quantiles added up"
EACH, ALL = "each series", "all series"


def score_totals(
    result: Backtest,
    ranks: Ranks | None,
    panel: Panel,
    *,
    days: Sequence[int | str] | None = None,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Score the totals of a backtest: of each series, of groups and of all series together.

    A day whose truth is missing is left out of the forecast of its total as well; a total of which
    more than half of the days are missing is not scored.

    Args:
        result: of a forecaster with quantiles.
        ranks: of its model.
        panel: that was forecast.
        days: ranges as `lib.inference.read_ranges` takes them (default: a week and the horizon).
        groups: the group of each series by its name, for totals of groups.
        seed: of the paths.

    Returns:
        One row for each range, kind of sum and way to make it: days, of, made_from (`whole
        origins` is ours; `independent days` and `quantiles added up` are there to compare with), n
        (number of totals), coverage_80 and wql (per cent). Empty where the model has no ranks or
        the forecaster no quantiles.
    """
    columns = ["days", "of", "made_from", "n", "coverage_80", "wql"]
    if ranks is None or result.quantiles is None:
        return pd.DataFrame(columns=columns)
    horizon = result.actual.shape[1]
    ranges = read_ranges(days or dict.fromkeys((min(7, horizon), horizon)), horizon)
    found: dict[tuple[DayRange, str, str], list[tuple[float, np.ndarray]]] = {}
    for key, total in _totals(result, ranks, panel, ranges, groups or {}, seed):
        found.setdefault(key, []).append(total)
    rows = []
    for (span, of, made_from), totals in found.items():
        actual = np.array([total[0] for total in totals])
        quantiles = np.stack([total[1] for total in totals])
        scores = _score(actual, quantiles, result.levels)
        text = f"{span.first}-{span.last}"
        rows.append({"days": text, "of": of, "made_from": made_from, "n": len(totals)} | scores)
    return pd.DataFrame(rows, columns=columns)


def _score(
    actual: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...]
) -> dict[str, float]:
    low, high = levels.index(0.1), levels.index(0.9)
    return {
        "coverage_80": metrics.coverage(actual, quantiles[:, low], quantiles[:, high]),
        "wql": metrics.wql(actual, quantiles, levels),
    }


def _totals(
    result: Backtest,
    ranks: Ranks,
    panel: Panel,
    ranges: Sequence[DayRange],
    groups: Mapping[str, str],
    seed: int,
) -> Iterator[tuple[tuple[DayRange, str, str], tuple[float, np.ndarray]]]:
    """Yield the actual and the quantiles (levels,) of each total, with its range, kind and way."""
    shuffled = np.random.default_rng(seed).permuted(ranks.codes, axis=0)
    alone = replace(ranks, codes=shuffled, persistence=0.0, shared=0.0)
    samplers = {
        WHOLE: PathSampler(ranks, result.levels, paths=PATHS, seed=seed),
        INDEPENDENT: PathSampler(alone, result.levels, paths=PATHS, seed=seed),
    }
    for cutoff in np.unique(result.cutoffs):
        rows = np.flatnonzero(result.cutoffs == cutoff)
        for span in ranges:
            sums: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
            for row in rows:
                name = panel.ids[result.series[row]]
                parts = _sum_days(result, row, span, samplers, name)
                for made_from, (actual, drawn) in parts.items():
                    made = _quantiles_of(drawn, made_from, result.levels)
                    yield (span, EACH, made_from), (actual, made)
                    for of in (ALL, *([groups[name]] if name in groups else [])):
                        before = sums.get((of, made_from), (0.0, np.zeros(len(drawn))))
                        sums[of, made_from] = (before[0] + actual, before[1] + drawn)
            if len(rows) > 1:
                for (of, made_from), (actual, drawn) in sums.items():
                    made = _quantiles_of(drawn, made_from, result.levels)
                    yield (span, of, made_from), (actual, made)


def _sum_days(
    result: Backtest, row: int, span: DayRange, samplers: Mapping[str, PathSampler], name: str
) -> dict[str, tuple[float, np.ndarray]]:
    """Return the actual sum, and the paths or the quantiles of it, by the way they are made."""
    if result.quantiles is None:
        return {}
    days = slice(span.first - 1, span.last)
    seen = np.isfinite(result.actual[row, days])
    if 2 * seen.sum() < span.days:
        return {}
    actual = float(result.actual[row, days][seen].sum())
    quantiles = result.quantiles[row]
    floor = 0.0 if quantiles.min() >= 0 else -np.inf
    parts = {
        made_from: (actual, sampler.draw(name, quantiles, floor=floor)[:, days][:, seen].sum(1))
        for made_from, sampler in samplers.items()
    }
    return parts | {ADDED: (actual, quantiles[days][seen].sum(axis=0))}


def _quantiles_of(drawn: np.ndarray, made_from: str, levels: tuple[float, ...]) -> np.ndarray:
    return drawn if made_from == ADDED else np.quantile(drawn, levels)
