"""Judges forecasts: metrics, baselines that need no training, and the rolling-origin backtest."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
