"""Score forecasts of the past, ours beside the baselines."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from lib import evaluation
from lib.data import Panel, choose_validation_days, split_days
from lib.forecasting.fitting import INSTANT, make_model, take_pretrained
from lib.inference import ServedModel

METRICS = ["mase", "wape", "wql", "coverage_80", "days"]


def score_forecasts(
    panel: Panel, *, effort: str, horizon: int, seed: int, cutoffs: int, step: int
) -> pd.DataFrame:
    """Learn the days up to the first cutoff, forecast from every cutoff, and score.

    Returns:
        One row a forecaster, ours first, with the columns forecaster and METRICS.
    """
    with tempfile.TemporaryDirectory(prefix="backtest-") as folder:
        _, results = backtest_panel(
            panel,
            Path(folder),
            effort=effort,
            horizon=horizon,
            seed=seed,
            cutoffs=cutoffs,
            step=step,
        )
    rows = [{"forecaster": n} | evaluation.compute_metrics(r) for n, r in results.items()]
    return pd.DataFrame(rows)[["forecaster", *METRICS]]


def backtest_panel(
    panel: Panel,
    folder: Path,
    *,
    effort: str,
    horizon: int,
    seed: int,
    cutoffs: int,
    step: int,
    known_future: bool = True,
) -> tuple[ServedModel, dict[str, evaluation.Backtest]]:
    """Learn the days up to the first cutoff, and forecast from every cutoff.

    Args:
        panel: the history.
        folder: for the artifact; empty.
        effort: as for `make_model`.
        horizon: days ahead.
        seed: of training.
        cutoffs: number of forecasts of each series.
        step: days between two cutoffs.
        known_future: whether known covariates of the days ahead are known.

    Returns:
        The model, and the backtest of each forecaster by its name, ours first.
    """
    days = {"horizon": horizon, "cutoffs": cutoffs, "step": step}
    split = split_days(panel, validation_days=choose_validation_days(panel, **days), **days)
    origins = evaluation.origin_rows(panel, **days)
    model = make_model(panel, folder, effort=effort, horizon=horizon, seed=seed, split=split)
    results = {
        evaluation.OURS: evaluation.run_backtest(model, panel, origins, known_future=known_future)
    }
    results |= evaluation.run_baselines(panel, origins, horizon)
    if effort != INSTANT:
        untrained = take_pretrained(panel, folder / INSTANT, horizon=horizon, split=split)
        results[INSTANT] = evaluation.run_backtest(
            untrained, panel, origins, known_future=known_future
        )
    return model, results
