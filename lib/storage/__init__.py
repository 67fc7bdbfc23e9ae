"""The database of the service, the leases of its processes, and subprocess supervision."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
