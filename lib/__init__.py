"""Forecasting of daily series: the thin package that notebooks and command line call."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

# Models registered by earlier releases import `lib.forecaster` and `lib.panel`. Crontabs of that
# time run `python -m lib.monitor` and `python -m lib.batch`.
__path__ += [f"{__path__[0]}/{package}/former_names" for package in ("inference", "cli")]
