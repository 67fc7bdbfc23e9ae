"""What is stored: predictions, the actuals they are compared with, and the last check."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
