__all__ = ["Batcher", "LiveModel", "Served"]

from .batching import Batcher
from .live_model import LiveModel, Served
