"""What a backtest took as known of the covariates ahead, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Panel, as_known_at
from lib.evaluation.scores import Backtest


def describe_vintages(panel: Panel, vintages: pd.DataFrame | None, result: Backtest) -> list[str]:
    """Say which covariates were taken as known at each cutoff, and on which days they were unknown.

    Args:
        panel: the series.
        vintages: as `lib.data.read_vintages` returns them, or None.
        result: of the backtest.
    """
    if vintages is None:
        return []
    names = vintages.attrs["names"]
    firsts = panel.dates[panel.offsets[:-1]][result.series]
    origins = panel.offsets[result.series] + (result.cutoffs - firsts).astype(np.int64)
    ahead = origins[:, None] + np.arange(1, result.actual.shape[1] + 1)
    inside = ahead <= panel.last_row_of(origins)[:, None]
    counts = dict.fromkeys(names, 0)
    for cutoff in np.unique(result.cutoffs):
        seen = as_known_at(panel, vintages, cutoff)
        values = {c.column: c.values for c in seen.covariates}
        values |= {"fator_externo": seen.factor, "evento_especial": seen.event}
        rows = ahead[inside & (result.cutoffs == cutoff)[:, None]]
        for name in names:
            counts[name] += int(np.isfinite(values[name][rows]).sum())
    listed = ", ".join(names.values())
    notes = [f"covariates as known at each cutoff: {listed} ({vintages.attrs['source']})"]
    days = int(inside.sum())
    return notes + [
        f"{names[name]} was known for {count:,} of the {days:,} days ahead"
        for name, count in counts.items()
        if count < days
    ]
