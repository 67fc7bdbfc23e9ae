"""Figures of the backtest that have to be drawn whatever the data is."""

import matplotlib.pyplot as plt
import numpy as np

from lib.evaluation import backtest, baselines, plots, scores
from tests.panels import panel_of


def test_series_that_never_change_have_a_figure_without_a_mase():
    panel = panel_of(np.zeros(90), np.full(90, 7.0))
    origins = backtest.origin_rows(panel, horizon=7, cutoffs=2, step=7)
    point = baselines.seasonal_naive(panel, origins, 7)
    result = backtest.collect_forecasts(panel, origins, 7, point=point)
    assert np.isnan(scores.compute_metrics(result)["mase"])
    figure = plots.plot_by_series({"seasonal_naive": result, "forecaster": result}, panel)
    assert figure.axes[0].get_xlim() == (0, 1)
    plt.close(figure)
