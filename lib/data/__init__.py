"""Daily series: read, checked and split, or synthesized with their ground truth."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
