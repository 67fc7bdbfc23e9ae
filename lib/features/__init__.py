"""Model inputs: eleven causal features a day, known-future covariates, and windows."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
