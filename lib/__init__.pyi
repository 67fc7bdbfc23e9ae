__all__ = ["Forecaster"]

from .forecasting import Forecaster
