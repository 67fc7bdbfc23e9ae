"""Bodies and answers of every call, and the quick readers of large bodies."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
