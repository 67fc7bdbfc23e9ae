__all__ = [
    "Batch",
    "Fit",
    "TrainingConfig",
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
    "progress_bar",
    "refit",
    "save_artifact",
    "save_refit",
    "save_zero_shot",
    "train_step",
]

from .artifact_files import add_metrics
from .calibration import calibrate
from .config import TrainingConfig, TrainingError
from .data import Batch, batch_of, prepare
from .export import load_weights, save_artifact
from .loop import Fit, fit, initial_loss, progress_bar, train_step
from .loss import pinball_loss
from .plots import plot_loss
from .provenance import code_hash
from .refitting import refit, save_refit
from .state import initial_state
from .validation import losses_by_window
from .zero_shot import save_zero_shot
