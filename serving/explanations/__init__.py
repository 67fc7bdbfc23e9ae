"""Explanations of forecasts: the queue of jobs, and what computes one."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
