"""Score forecasts of the past, ours beside the baselines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from lib import evaluation
from lib.data import Panel, choose_validation_days, split_days
from lib.forecasting.fitting import INSTANT, make_model, take_pretrained
from lib.inference import ServedModel

METRICS = ["mase", "wape", "wql", "coverage_80", "days"]


def score_forecasts(
    panel: Panel,
    *,
    effort: str,
    horizon: int,
    seed: int,
    cutoffs: int,
    step: int,
    vintages: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Learn the days up to the first cutoff, forecast from every cutoff, and score.

    Returns:
        One row a forecaster, ours first, with the columns forecaster and METRICS. Its `attrs` have
        `notes` on covariates, as a backtest's report does.
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
            vintages=vintages,
        )
    rows = [{"forecaster": n} | evaluation.compute_metrics(r) for n, r in results.items()]
    scores = pd.DataFrame(rows)[["forecaster", *METRICS]]
    ours = results[evaluation.OURS]
    scores.attrs["notes"] = evaluation.describe_vintages(panel, vintages, ours)
    return scores


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
    vintages: pd.DataFrame | None = None,
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
        vintages: of covariates, as for `lib.evaluation.run_backtest`.

    Returns:
        The model, and the backtest of each forecaster by its name, ours first.
    """
    days = {"horizon": horizon, "cutoffs": cutoffs, "step": step}
    split = split_days(panel, validation_days=choose_validation_days(panel, **days), **days)
    origins = evaluation.origin_rows(panel, **days)
    model = make_model(panel, folder, effort=effort, horizon=horizon, seed=seed, split=split)
    ahead: dict[str, Any] = {"known_future": known_future, "vintages": vintages}
    results = {evaluation.OURS: evaluation.run_backtest(model, panel, origins, **ahead)}
    results |= evaluation.run_baselines(panel, origins, horizon)
    if effort != INSTANT:
        untrained = take_pretrained(panel, folder / INSTANT, horizon=horizon, split=split)
        results[INSTANT] = evaluation.run_backtest(untrained, panel, origins, **ahead)
    return model, results
