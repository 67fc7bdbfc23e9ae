__all__ = [
    "BASELINES",
    "BLOCKS",
    "METRICS",
    "OURS",
    "SEASON",
    "Backtest",
    "Difference",
    "Verdict",
    "baseline_quantiles",
    "bias",
    "collect_forecasts",
    "compare",
    "compute_metrics",
    "coverage",
    "describe_left_out",
    "describe_vintages",
    "find_cutoff",
    "flatten_metrics",
    "forecast_table",
    "judge",
    "mae",
    "mase",
    "mase_by_series",
    "metrics_by_block",
    "metrics_by_day",
    "origin_rows",
    "pinball_loss",
    "plot_by_series",
    "plot_coverage",
    "plot_error_by_day",
    "plot_fans",
    "plot_paths",
    "r2",
    "rmse",
    "run_backtest",
    "run_baselines",
    "score_totals",
    "seasonal_naive",
    "seasonal_scale",
    "smape",
    "standard_error",
    "wape",
    "wql",
]

from .backtest import collect_forecasts, find_cutoff, forecast_table, origin_rows, run_backtest
from .baseline_quantiles import baseline_quantiles, run_baselines
from .baselines import BASELINES, seasonal_naive
from .left_out import describe_left_out
from .metrics import (
    SEASON,
    bias,
    coverage,
    mae,
    mase,
    mase_by_series,
    pinball_loss,
    r2,
    rmse,
    seasonal_scale,
    smape,
    wape,
    wql,
)
from .paired_comparison import METRICS, Difference, compare, standard_error
from .plots import plot_by_series, plot_coverage, plot_error_by_day, plot_fans, plot_paths
from .scores import (
    BLOCKS,
    OURS,
    Backtest,
    compute_metrics,
    flatten_metrics,
    metrics_by_block,
    metrics_by_day,
)
from .totals import score_totals
from .verdict import Verdict, judge
from .vintages import describe_vintages
