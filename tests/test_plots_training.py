"""Figures of the training that have to be drawn whatever the data is."""

import matplotlib.pyplot as plt
import numpy as np

from lib import backtest, plots_training
from tests.panels import panel_of


def test_series_that_never_change_have_a_figure_without_a_mase():
    panel = panel_of(np.zeros(90), np.full(90, 7.0))
    ends = backtest.cutoff_rows(panel, horizon=7, cutoffs=2, step=7)
    point = backtest.seasonal_naive(panel, ends, 7)
    result = backtest.collect(panel, ends, 7, point=point)
    assert np.isnan(backtest.metrics(result)["mase"])
    figure = plots_training.plot_by_series({"seasonal_naive": result, "forecaster": result}, panel)
    assert figure.axes[0].get_xlim() == (0, 1)
    plt.close(figure)
