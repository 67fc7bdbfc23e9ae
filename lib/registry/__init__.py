"""Registered models in MLflow: logged, gated, promoted, rolled back, fetched."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
