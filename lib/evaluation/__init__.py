"""Judges forecasts: metrics, baselines that need no training, and the rolling-origin backtest.

>>> from lib import data, evaluation
>>> panel, _ = data.synthesize(data.SynthesisSpec(n_series=2, n_days=400), seed=1)
>>> origins = evaluation.origin_rows(panel, horizon=7, cutoffs=4, step=7)
>>> point = evaluation.seasonal_naive(panel, origins, 7)
>>> result = evaluation.collect_forecasts(panel, origins, 7, point=point)
>>> scores = evaluation.compute_metrics(result)
>>> round(scores["mase"], 2), scores["days"]
(1.41, 54)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
