"""What every request passes: limits, problems, security, metrics and the gunicorn worker."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
