__all__ = [
    "MIN_HISTORY_DAYS",
    "PARAMETERS",
    "SERIES_COLUMNS",
    "WINDOW_DAYS",
    "DataSplit",
    "Panel",
    "SeriesError",
    "Source",
    "SynthesisSpec",
    "choose_validation_days",
    "fingerprint",
    "load",
    "match_columns",
    "plot_components",
    "plot_events",
    "plot_factor",
    "plot_seasons",
    "plot_series",
    "split_days",
    "synthesize",
    "to_panel",
    "to_table",
    "validate",
]

from .loading import load, validate
from .panel import (
    MIN_HISTORY_DAYS,
    SERIES_COLUMNS,
    WINDOW_DAYS,
    Panel,
    SeriesError,
    fingerprint,
    to_panel,
    to_table,
)
from .plots import plot_components, plot_events, plot_factor, plot_seasons, plot_series
from .readers import PARAMETERS, Source, match_columns
from .splits import DataSplit, choose_validation_days, split_days
from .synthesis import synthesize
from .synthesis_spec import SynthesisSpec
