"""Runs the notebooks headlessly: parameters, stages, execution, backtest and retraining."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
