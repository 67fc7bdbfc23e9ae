"""The command line, `lstm-forecast`; `lstm-forecast --help` lists its commands.

Commands import what they need when they run, so that the help is there at once.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
