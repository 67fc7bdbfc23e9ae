__all__ = [
    "Batch",
    "Fit",
    "TrainingConfig",
    "TrainingData",
    "TrainingError",
    "add_metrics",
    "batch_of",
    "calibrate",
    "code_hash",
    "fit",
    "initial_loss",
    "initial_state",
    "load_weights",
    "losses_by_window",
    "pinball_loss",
    "plot_loss",
    "prepare",
    "prepare_zero_shot",
    "progress_bar",
    "refit",
    "save_artifact",
    "save_refit",
    "start_pretrained",
    "train_step",
]

from .calibration import calibrate
from .config import TrainingConfig, TrainingError
from .data import Batch, TrainingData, batch_of, prepare, prepare_zero_shot
from .export import add_metrics, load_weights, save_artifact
from .loop import Fit, fit, initial_loss, progress_bar, start_pretrained, train_step
from .loss import pinball_loss
from .plots import plot_loss
from .provenance import code_hash
from .refitting import refit, save_refit
from .state import initial_state
from .validation import losses_by_window
