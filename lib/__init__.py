"""Forecasting of daily series: the thin package that the notebooks call."""
