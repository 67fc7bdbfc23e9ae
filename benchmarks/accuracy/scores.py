"""One function that scores every model's forecasts in the same way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib import evaluation
from lib.data import Panel
from lib.models import QUANTILES


def score(
    forecasts: pd.DataFrame, panel: Panel, origins: np.ndarray, horizon: int
) -> dict[str, float | None]:
    """MASE, WAPE, WQL and coverage of the 80 % interval; the last two None for a point forecast.

    Args:
        forecasts: series_id, cutoff, date, horizon, and `q<level>` columns, in any order of rows.
        origins: rows of the cutoffs; missing truths weigh nothing, a missing forecast is an error.
    """
    names = [f"q{level:g}" for level in QUANTILES]
    names = [name for name in names if name in forecasts.columns]
    rows = panel.series_of(origins)
    wanted = pd.MultiIndex.from_arrays(
        [
            np.repeat(np.array(panel.ids, dtype=object)[rows], horizon),
            np.repeat(panel.dates[origins].astype("datetime64[ns]"), horizon),
            np.tile(np.arange(1, horizon + 1), len(origins)),
        ]
    )
    table = forecasts.astype({"series_id": str, "cutoff": "datetime64[ns]", "horizon": int})
    table = table.set_index(["series_id", "cutoff", "horizon"])[names].reindex(wanted)
    if table.isna().to_numpy().any():
        raise ValueError(f"{int(table.isna().any(axis=1).sum())} forecasts are missing")
    values = table.to_numpy(float).reshape(len(origins), horizon, len(names))
    if len(names) == 1:
        result = evaluation.collect_forecasts(panel, origins, horizon, point=values[..., 0])
    else:
        result = evaluation.collect_forecasts(
            panel, origins, horizon, quantiles=values, levels=QUANTILES
        )
    found = evaluation.compute_metrics(result)
    return {
        name: round(float(found[name]), 4) if name in found else None
        for name in ("mase", "wape", "wql", "coverage_80")
    }
