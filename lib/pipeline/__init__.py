"""Runs the notebooks of a life cycle headlessly: parameters, stages, execution and retraining."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
