__all__ = ["Batcher", "LiveModel", "SeriesForecasts", "Served", "forecast_series"]

from .batching import Batcher
from .live_model import LiveModel, Served
from .series_forecasts import SeriesForecasts, forecast_series
