__all__ = ["Prediction", "Recorder", "read_last_check", "store_actuals"]

from .actuals import store_actuals
from .checks import read_last_check
from .predictions import Prediction, Recorder
