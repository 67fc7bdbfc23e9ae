__all__ = [
    "PAST_DAYS",
    "MonitorError",
    "NoActualError",
    "Report",
    "RetrainingPolicy",
    "between",
    "check_days",
    "drop",
    "find_implausible",
    "from_run",
    "from_store",
    "last_day",
    "list_quarantined",
    "load_baseline",
    "load_groups",
    "plot_accuracy",
    "plot_business",
    "plot_drift_distributions",
    "plot_drift_ranking",
    "plot_forecasts",
    "reason_to_wait",
    "release",
    "report_retraining",
    "run_check",
]

from .arrivals import last_day
from .by_series import load_groups
from .frames import between, from_run, from_store
from .job import MonitorError, NoActualError, report_retraining, run_check
from .plausibility import PAST_DAYS, find_implausible
from .plots import (
    plot_accuracy,
    plot_business,
    plot_drift_distributions,
    plot_drift_ranking,
    plot_forecasts,
)
from .quarantine import drop, list_quarantined, release
from .report import Report, check_days, load_baseline
from .retraining_policy import RetrainingPolicy, reason_to_wait
