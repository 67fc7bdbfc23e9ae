__all__ = [
    "FEATURES",
    "FUTURE",
    "MAX_HORIZON",
    "YEAR",
    "Windows",
    "compute_features",
    "future_after",
    "future_of",
    "gather_context",
    "index_windows",
    "rolling_mean",
    "start_of",
    "values_at",
]

from .engineering import (
    FEATURES,
    FUTURE,
    MAX_HORIZON,
    YEAR,
    compute_features,
    rolling_mean,
    start_of,
)
from .undated_windows import future_after
from .windows import Windows, future_of, gather_context, index_windows, values_at
