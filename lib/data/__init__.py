"""Daily series: read, checked and split, or synthesized with their ground truth.

>>> import pandas as pd
>>> from lib import data
>>> days = pd.date_range("2024-01-01", periods=90).delete(10)
>>> table = data.validate(pd.DataFrame({"date": days, "value": range(89)}))
>>> len(table), int(table["value"].isna().sum())
(90, 1)
>>> panel, truth = data.synthesize(data.SynthesisSpec(n_series=2, n_days=400), seed=1)
>>> data.split_days(panel, horizon=28, cutoffs=3, step=28, validation_days=60).train_end
np.datetime64('2021-09-13')
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
