"""Explain a forecast: exact Shapley values of the served graph, and figures of them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
