"""Choose settings of network and training by an Optuna study that worker processes share."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
