__all__ = [
    "ParameterError",
    "Retraining",
    "RetrainingError",
    "StageError",
    "declared_parameters",
    "gather_data",
    "load_profile",
    "read_notebook",
    "record",
    "resolve_parameters",
    "retrain",
    "retraining_parameters",
    "run_backtest",
    "run_folder",
]

from .backtest import run_backtest
from .parameters import (
    ParameterError,
    declared_parameters,
    load_profile,
    read_notebook,
    resolve_parameters,
)
from .retraining import Retraining, retrain
from .retraining_data import RetrainingError, gather_data, retraining_parameters
from .runs import record, run_folder
from .stages import StageError
