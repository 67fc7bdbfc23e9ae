__all__ = [
    "READING",
    "Choice",
    "ForecastFiles",
    "Forecaster",
    "backtest_instantly",
    "forecast_file",
]

from .files import READING, ForecastFiles, forecast_file
from .forecaster import Forecaster
from .instant_backtest import backtest_instantly
from .model_choice import Choice
