__all__ = ["Choice", "ForecastFiles", "Forecaster", "forecast_file"]

from .files import ForecastFiles, forecast_file
from .forecaster import Forecaster
from .model_choice import Choice
