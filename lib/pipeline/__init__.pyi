__all__ = [
    "MONITORING_STAGE",
    "PLANNING_STAGE",
    "Columns",
    "Day",
    "ForecastSource",
    "Horizon",
    "OptionalDay",
    "Parameter",
    "ParameterError",
    "Retraining",
    "RetrainingError",
    "Share",
    "StageError",
    "Switch",
    "declared_parameters",
    "declared_stages",
    "describe_run",
    "held_out",
    "load_model",
    "load_profile",
    "parameters_table",
    "profile_values",
    "read_notebook",
    "record",
    "resolve_parameters",
    "retrain",
    "run_backtest",
    "run_folder",
    "run_monitoring",
    "run_pipeline",
    "run_planning",
    "show_summary",
    "summarize_backtest",
    "summarize_run",
]

from .backtest import run_backtest
from .monitoring import run_monitoring, run_planning
from .notebooks import MONITORING_STAGE, PLANNING_STAGE, ParameterError, read_notebook
from .parameter_help import parameters_table
from .parameter_types import (
    Columns,
    Day,
    ForecastSource,
    Horizon,
    OptionalDay,
    Share,
    Switch,
)
from .parameters import Parameter, declared_parameters, resolve_parameters
from .profile_values import declared_stages, profile_values
from .profiles import load_profile
from .retraining import Retraining, retrain
from .retraining_data import RetrainingError, held_out
from .run import run_pipeline
from .runs import describe_run, record, run_folder
from .stages import StageError
from .summary import show_summary, summarize_backtest, summarize_run
from .trained_model import load_model
