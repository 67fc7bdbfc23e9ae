__all__ = [
    "DAY_OF_YEAR",
    "FEATURES",
    "FUTURE",
    "MAX_HORIZON",
    "YEAR",
    "YOUNG_DAYS",
    "CovariateEffects",
    "PanelEffects",
    "PastEffects",
    "SeriesPool",
    "Windows",
    "complete_past",
    "compute_features",
    "describe_missing_past",
    "describe_outside",
    "find_young",
    "fit_effects",
    "fit_past_effects",
    "gather_context",
    "index_windows",
    "known_future",
    "known_future_after",
    "learn_pool",
    "put_back",
    "rolling_mean",
    "summarize_covariates",
    "tabulate_features",
    "values_at",
]

from .covariate_effects import CovariateEffects, PanelEffects
from .covariate_range import describe_missing_past, describe_outside
from .covariate_summary import summarize_covariates
from .effect_fitting import fit_effects
from .effect_return import put_back
from .engineering import FEATURES, FUTURE, MAX_HORIZON, YEAR, compute_features, rolling_mean
from .feature_table import tabulate_features
from .past_effect_fitting import fit_past_effects
from .past_effects import PastEffects
from .pool_learning import learn_pool
from .series_pool import SeriesPool
from .undated_windows import known_future_after
from .window_index import Windows, index_windows
from .windows import gather_context, known_future, values_at
from .year_effects import DAY_OF_YEAR
from .young_series import YOUNG_DAYS, complete_past, find_young
