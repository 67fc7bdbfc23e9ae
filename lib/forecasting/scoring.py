"""Score forecasts of the past, ours beside the baselines."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from lib import evaluation
from lib.data import Panel, choose_validation_days, split_days
from lib.forecasting.fitting import make_model

METRICS = ["mase", "wape", "wql", "coverage_80", "days"]


def score_forecasts(
    panel: Panel, *, effort: str, horizon: int, seed: int, cutoffs: int, step: int
) -> pd.DataFrame:
    """Learn the days up to the first cutoff, forecast from every cutoff, and score.

    Returns:
        One row a forecaster, ours first, with the columns forecaster and METRICS.
    """
    days = {"horizon": horizon, "cutoffs": cutoffs, "step": step}
    split = split_days(panel, validation_days=choose_validation_days(panel, **days), **days)
    origins = evaluation.origin_rows(panel, **days)
    with tempfile.TemporaryDirectory(prefix="backtest-") as folder:
        model = make_model(
            panel, Path(folder), effort=effort, horizon=horizon, seed=seed, split=split
        )
        results = {evaluation.OURS: evaluation.run_backtest(model, panel, origins)}
    results |= evaluation.run_baselines(panel, origins, horizon)
    rows = [{"forecaster": n} | evaluation.compute_metrics(r) for n, r in results.items()]
    return pd.DataFrame(rows)[["forecaster", *METRICS]]
