__all__ = [
    "CARD_FILE",
    "PRETRAINED_FOLDER",
    "QUANTILES",
    "TINY",
    "WEIGHTS_FILE",
    "ZERO_SHOT_FOLDER",
    "LSTMForecaster",
    "ModelConfig",
    "has_pretrained",
    "is_pretrained_weight",
    "load_pretrained",
    "pretrained_digest",
    "tracing_any_horizon",
]

from .config import QUANTILES, ModelConfig
from .lstm import LSTMForecaster
from .masked import tracing_any_horizon
from .pretrained import (
    CARD_FILE,
    PRETRAINED_FOLDER,
    WEIGHTS_FILE,
    ZERO_SHOT_FOLDER,
    has_pretrained,
    is_pretrained_weight,
    load_pretrained,
    pretrained_digest,
)
from .window_statistics import TINY
