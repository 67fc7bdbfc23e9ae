__all__ = ["Choice", "Forecaster", "forecast_file"]

from .files import forecast_file
from .forecaster import Forecaster
from .model_choice import Choice
