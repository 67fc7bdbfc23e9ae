"""Stand in for `lib.forecaster`, which registered models import."""

from lib.inference import Contract, forecast_panel
from lib.inference import ServedModel as Forecaster

__all__ = ["Contract", "Forecaster", "forecast_panel"]
