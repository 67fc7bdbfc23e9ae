__all__ = [
    "RetrainingRecommendation",
    "baseline",
    "between",
    "check_days",
    "from_run",
    "from_store",
    "last_day",
    "plot_accuracy",
    "plot_business",
    "plot_drift_distributions",
    "plot_drift_ranking",
    "plot_forecasts",
]

from .frames import between, from_run, from_store, last_day
from .plots import (
    plot_accuracy,
    plot_business,
    plot_drift_distributions,
    plot_drift_ranking,
    plot_forecasts,
)
from .report import baseline, check_days
from .retraining_policy import RetrainingRecommendation
