__all__ = [
    "DAY_OF_YEAR",
    "FEATURES",
    "FUTURE",
    "MAX_HORIZON",
    "YEAR",
    "YOUNG_DAYS",
    "CovariateEffects",
    "PanelEffects",
    "SeriesPool",
    "Windows",
    "complete_past",
    "compute_features",
    "describe_outside",
    "find_young",
    "fit_effects",
    "gather_context",
    "index_windows",
    "known_future",
    "known_future_after",
    "learn_pool",
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
from .pool_learning import learn_pool
from .series_pool import SeriesPool
from .undated_windows import known_future_after
from .windows import Windows, gather_context, index_windows, known_future, values_at
from .year_effects import DAY_OF_YEAR
from .young_series import YOUNG_DAYS, complete_past, find_young
