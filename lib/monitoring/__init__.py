"""Checks of past forecasts: live accuracy, drift, business impact, retraining policy, alerts."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
