"""The model in memory: loaded, replaced after a promotion, called in batches."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
