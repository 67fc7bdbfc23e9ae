__all__ = ["Batcher", "LiveModel", "Planner", "SeriesForecasts", "Served", "forecast_series"]

from .batching import Batcher
from .live_model import LiveModel, Served
from .plans import Planner
from .series_forecasts import SeriesForecasts, forecast_series
