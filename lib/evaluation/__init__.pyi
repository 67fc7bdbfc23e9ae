__all__ = [
    "BASELINES",
    "BLOCKS",
    "Backtest",
    "collect_forecasts",
    "compute_metrics",
    "find_cutoff",
    "flatten_metrics",
    "forecast_table",
    "metrics_by_block",
    "metrics_by_day",
    "origin_rows",
    "run_backtest",
]

from .backtest import collect_forecasts, find_cutoff, forecast_table, origin_rows, run_backtest
from .baselines import BASELINES
from .metrics import (
    BLOCKS,
    Backtest,
    compute_metrics,
    flatten_metrics,
    metrics_by_block,
    metrics_by_day,
)
