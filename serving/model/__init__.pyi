__all__ = [
    "PRETRAINED",
    "Batcher",
    "LiveModel",
    "Planner",
    "SeriesForecasts",
    "Served",
    "calibrate_on",
    "cost_of_calibration",
    "forecast_series",
]

from .batching import Batcher
from .live_model import PRETRAINED, LiveModel, Served
from .plans import Planner
from .series_forecasts import SeriesForecasts, forecast_series
from .untrained import calibrate_on, cost_of_calibration
