__all__ = [
    "Data",
    "Fit",
    "SingleProcess",
    "Trainer",
    "TrainingConfig",
    "TrainingError",
    "add_metrics",
    "batch_of",
    "calibrate",
    "code_hash",
    "fit",
    "load_weights",
    "plot_by_series",
    "plot_coverage",
    "plot_error_by_day",
    "plot_fans",
    "plot_loss",
    "prepare",
    "progress_bar",
    "save_artifact",
]

from .calibration import calibrate
from .config import TrainingConfig, TrainingError
from .data import Data, batch_of, code_hash, prepare
from .export import add_metrics, load_weights, save_artifact
from .loop import Fit, SingleProcess, Trainer, fit, progress_bar
from .plots import plot_by_series, plot_coverage, plot_error_by_day, plot_fans, plot_loss
