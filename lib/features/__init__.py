"""Model inputs: eleven causal features a day, known-future covariates, and windows.

>>> import numpy as np
>>> from lib import data, features
>>> panel, _ = data.synthesize(data.SynthesisSpec(n_series=2, n_days=400), seed=1)
>>> windows = features.index_windows(panel, features.compute_features(panel), horizon=7)
>>> batch = np.arange(8)
>>> windows.context(batch, days=60).shape, windows.known_future(batch).shape
((8, 60, 11), (8, 7, 11))
>>> windows.targets(batch).shape
(8, 7)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
