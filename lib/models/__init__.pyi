__all__ = [
    "CARD",
    "FOLDER",
    "QUANTILES",
    "TINY",
    "WEIGHTS",
    "LSTMForecaster",
    "ModelConfig",
    "digest",
    "is_for",
    "start",
]

from .config import QUANTILES, ModelConfig
from .lstm import LSTMForecaster
from .pretrained import CARD, FOLDER, WEIGHTS, digest, is_for, start
from .window_statistics import TINY
