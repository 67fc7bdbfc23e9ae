"""What is learned of past forecasts: widths, ranks, and the pretrained network for some data.

Nothing here loads PyTorch: the service calibrates the pretrained network on what a call sends.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
