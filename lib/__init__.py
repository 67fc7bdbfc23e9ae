"""Forecasting of daily series: the thin package that the notebooks call."""

# Models registered by earlier releases import `lib.forecaster` and `lib.panel`.
__path__.append(f"{__path__[0]}/inference/former_names")
