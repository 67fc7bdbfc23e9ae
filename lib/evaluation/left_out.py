"""What a backtest leaves out, by series, and why: a score says little without it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import (
    WEEKDAYS,
    WINDOW_DAYS,
    Panel,
    closed_weekdays,
    is_constant,
    last_history_rows,
    spike_rows,
)
from lib.evaluation.scores import Backtest


def describe_left_out(panel: Panel, result: Backtest) -> pd.DataFrame:
    """Name the series that a backtest does not forecast or score in full, and say why.

    Args:
        panel: that was forecast.
        result: of any forecaster on it.

    Returns:
        One row a series and reason: series_id, reason. Empty where everything is scored.

    >>> from dataclasses import replace
    >>> from lib.data import SynthesisSpec, synthesize
    >>> from lib.evaluation import origin_rows, run_baselines
    >>> panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=120), seed=1)
    >>> panel = replace(panel, values=np.full(120, 5.0))
    >>> origins = origin_rows(panel, horizon=7, cutoffs=2, step=7)
    >>> describe_left_out(panel, run_baselines(panel, origins, 7)["naive"])["reason"].tolist()
    ['constant up to the first cutoff: no scale, so not in MASE']
    """
    cutoffs = np.unique(result.cutoffs)
    if not len(cutoffs):
        rows = [(name, "no cutoff lies within it: not forecast") for name in panel.ids]
        return pd.DataFrame(rows, columns=["series_id", "reason"])
    rows = []
    closed = closed_weekdays(panel, cutoffs[0])
    spikes = spike_rows(panel)
    for s, name in enumerate(panel.ids):
        reasons = [
            *_span_reasons(panel, result, s, cutoffs),
            *_closed_reasons(closed[s]),
            *_spike_reasons(panel, spikes[panel.series_of(spikes) == s]),
        ]
        rows += [(name, reason) for reason in reasons]
    return pd.DataFrame(rows, columns=["series_id", "reason"]).astype("str")


def _span_reasons(panel: Panel, result: Backtest, s: int, cutoffs: np.ndarray) -> list[str]:
    """Return why a series has no forecast, fewer forecasts, no actuals or no scale."""
    rows = panel.series(s)
    dates, values = panel.dates[rows], panel.values[rows]
    observed = dates[np.isfinite(values)]
    first, last = observed.min(), panel.dates[last_history_rows(panel)[s]]
    mine = result.series == s
    known = values[dates <= cutoffs[0]]
    known = known[np.isfinite(known)]
    if not mine.any():
        if first > cutoffs[-1]:
            return [f"begins on {first}, after the last cutoff {cutoffs[-1]}: not forecast"]
        return [f"ended on {last}, by the first cutoff {cutoffs[0]}: not forecast"]
    reasons = []
    if mine.sum() < len(cutoffs):
        where = f"forecast from {mine.sum()} of {len(cutoffs)} cutoffs"
        late = first > cutoffs[0]
        span = f"begins on {first}" if late else f"ends on {last}"
        reasons.append(f"{span}: {where}")
    if not np.isfinite(result.actual[mine]).any():
        reasons.append("no value is known after its cutoffs: not scored")
    if not np.isfinite(result.scale[mine]).any():
        reasons.append(_scale_reason(known, first, cutoffs[0]))
    elif len(known) < WINDOW_DAYS:
        reasons.append(
            f"short: its forecasts rest on {len(known)} values up to the first cutoff, and on "
            f"{(observed <= cutoffs[-1]).sum()} up to the last"
        )
    return reasons


def _scale_reason(known: np.ndarray, first: np.datetime64, cutoff: np.datetime64) -> str:
    if not len(known):
        return f"begins on {first}, after the first cutoff {cutoff}: no scale, so not in MASE"
    if is_constant(known.min(), known.max()):
        return "constant up to the first cutoff: no scale, so not in MASE"
    return f"{len(known)} values up to the first cutoff give no scale: not in MASE"


def _closed_reasons(closed: np.ndarray) -> list[str]:
    if not closed.any():
        return []
    names = " and ".join(WEEKDAYS[day] for day in np.flatnonzero(closed))
    return [f"closed on {names}: forecast as 0 there, and not scored unless open"]


def _spike_reasons(panel: Panel, rows: np.ndarray) -> list[str]:
    return [
        f"{panel.values[row]:g} on {panel.dates[row]} is a thousand times the values around it: "
        "not scored, and in no scale"
        for row in rows
    ]
