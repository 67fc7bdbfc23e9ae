__all__ = [
    "COLUMN_PARAMETERS",
    "MIN_HISTORY_DAYS",
    "SERIES_COLUMNS",
    "WINDOW_DAYS",
    "DataSplit",
    "Panel",
    "SeriesError",
    "Source",
    "SynthesisSpec",
    "choose_validation_days",
    "day_of_year",
    "fingerprint",
    "load",
    "mark_public_holidays",
    "match_columns",
    "plot_components",
    "plot_events",
    "plot_factor",
    "plot_seasons",
    "plot_series",
    "split_days",
    "split_without_test",
    "synthesize",
    "to_panel",
    "to_table",
    "validate",
    "weekday_of",
]

from .calendar import day_of_year, weekday_of
from .loading import load, mark_public_holidays, validate
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
from .source import COLUMN_PARAMETERS, Source, match_columns
from .splits import DataSplit, choose_validation_days, split_days, split_without_test
from .synthesis import synthesize
from .synthesis_spec import SynthesisSpec
