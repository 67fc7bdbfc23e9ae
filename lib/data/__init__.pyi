__all__ = [
    "CLOSED_LOOK_BACK",
    "COLUMN_PARAMETERS",
    "KEYS",
    "KNOWN_AT",
    "MIN_HISTORY_DAYS",
    "ROUNDING",
    "SERIES_COLUMNS",
    "WEEKDAYS",
    "WINDOW_DAYS",
    "Covariate",
    "CovariateNames",
    "DataSplit",
    "Kind",
    "Panel",
    "SeriesError",
    "Source",
    "SynthesisSpec",
    "add_holidays",
    "align_covariates",
    "as_categories",
    "as_frame",
    "as_known_at",
    "choose_validation_days",
    "closed_days_ahead",
    "closed_weekdays",
    "covariate_columns",
    "day_of_year",
    "describe_covariates",
    "describe_data",
    "describe_strangers",
    "fill_planned",
    "find_frequency",
    "find_kind",
    "find_near",
    "fingerprint",
    "forget_covariates_after",
    "is_closed",
    "is_constant",
    "is_missing",
    "is_planned",
    "last_history_day",
    "last_history_rows",
    "list_names",
    "load",
    "load_vintages",
    "mark_holidays",
    "mark_public_holidays",
    "match_columns",
    "name_holidays",
    "planned_columns",
    "plot_components",
    "plot_events",
    "plot_factor",
    "plot_seasons",
    "plot_series",
    "read",
    "read_plan_file",
    "read_planned",
    "read_vintages",
    "refuse_misspelt",
    "spike_rows",
    "split_calendar",
    "split_column",
    "split_days",
    "split_planned",
    "split_without_test",
    "synthesize",
    "take_series",
    "to_panel",
    "to_table",
    "validate",
    "weekday_of",
    "without_spikes",
]

from .blank_cells import fill_planned
from .calendar import WEEKDAYS, day_of_year, weekday_of
from .closed_days import (
    CLOSED_LOOK_BACK,
    closed_days_ahead,
    closed_weekdays,
    is_closed,
    is_missing,
)
from .covariate_alignment import align_covariates, describe_covariates
from .covariate_cells import CovariateNames
from .covariate_kinds import find_kind
from .covariates import Covariate, Kind, as_categories, covariate_columns, split_column
from .description import describe_data
from .frequency import find_frequency
from .holidays import (
    add_holidays,
    mark_holidays,
    mark_public_holidays,
    name_holidays,
    split_calendar,
)
from .loading import KNOWN_AT, load, validate
from .names import list_names
from .near_names import find_near
from .panel import (
    MIN_HISTORY_DAYS,
    SERIES_COLUMNS,
    WINDOW_DAYS,
    Panel,
    SeriesError,
    fingerprint,
    take_series,
)
from .planned import (
    forget_covariates_after,
    is_planned,
    last_history_day,
    last_history_rows,
    split_planned,
)
from .planned_tables import (
    KEYS,
    describe_strangers,
    planned_columns,
    read_plan_file,
    read_planned,
)
from .plots import plot_components, plot_events, plot_factor, plot_seasons, plot_series
from .readers import read
from .series_checks import ROUNDING, is_constant
from .series_tables import to_panel, to_table
from .source import COLUMN_PARAMETERS, Source, as_frame, match_columns, refuse_misspelt
from .spikes import spike_rows, without_spikes
from .splits import DataSplit, choose_validation_days, split_days, split_without_test
from .synthesis import synthesize
from .synthesis_spec import SynthesisSpec
from .vintages import as_known_at, load_vintages, read_vintages
