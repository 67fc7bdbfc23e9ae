__all__ = [
    "BACKTEST_METRICS",
    "DIGITS",
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
    "add_summary",
    "check_future",
    "create_out_folder",
    "declared_parameters",
    "declared_stages",
    "describe_run",
    "describe_verdict",
    "held_out",
    "load_model",
    "load_profile",
    "profile_values",
    "read_notebook",
    "read_vintages",
    "record",
    "report_summary",
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

from .backtest import BACKTEST_METRICS, create_out_folder, run_backtest
from .backtest_report import add_summary
from .data_check import check_future
from .monitoring import run_monitoring, run_planning
from .notebooks import MONITORING_STAGE, PLANNING_STAGE, ParameterError, read_notebook
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
from .runs import DIGITS, describe_run, read_vintages, record, run_folder
from .stages import StageError
from .summary import (
    describe_verdict,
    report_summary,
    show_summary,
    summarize_backtest,
    summarize_run,
)
from .trained_model import load_model
