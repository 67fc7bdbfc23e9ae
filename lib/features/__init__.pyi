__all__ = [
    "FEATURES",
    "FUTURE",
    "MAX_HORIZON",
    "YEAR",
    "CovariateEffects",
    "PanelEffects",
    "Windows",
    "compute_features",
    "describe_outside",
    "fit_effects",
    "gather_context",
    "index_windows",
    "known_future",
    "known_future_after",
    "rolling_mean",
    "summarize_covariates",
    "tabulate_features",
    "values_at",
]

from .covariate_effects import CovariateEffects, PanelEffects
from .covariate_range import describe_outside
from .covariate_summary import summarize_covariates
from .effect_fitting import fit_effects
from .engineering import FEATURES, FUTURE, MAX_HORIZON, YEAR, compute_features, rolling_mean
from .feature_table import tabulate_features
from .undated_windows import known_future_after
from .windows import Windows, gather_context, index_windows, known_future, values_at
