__all__ = [
    "MonitorError",
    "NoActualError",
    "Report",
    "RetrainingPolicy",
    "between",
    "check_days",
    "from_run",
    "from_store",
    "last_day",
    "load_baseline",
    "plot_accuracy",
    "plot_business",
    "plot_drift_distributions",
    "plot_drift_ranking",
    "plot_forecasts",
    "reason_to_wait",
    "report_retraining",
    "run_check",
]

from .frames import between, from_run, from_store, last_day
from .job import MonitorError, NoActualError, report_retraining, run_check
from .plots import (
    plot_accuracy,
    plot_business,
    plot_drift_distributions,
    plot_drift_ranking,
    plot_forecasts,
)
from .report import Report, check_days, load_baseline
from .retraining_policy import RetrainingPolicy, reason_to_wait
