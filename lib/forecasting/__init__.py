"""Forecast the coming days of your series: from a DataFrame to a DataFrame, from a file to a file.

`Forecaster` does both; the command line (`lib.cli`) calls it.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
