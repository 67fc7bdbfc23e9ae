"""Figures of the backtest that have to be drawn whatever the data is."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Patch
from matplotlib.text import Annotation

from lib.data import SynthesisSpec, synthesize
from lib.evaluation import backtest, baselines, plots, run_baselines, scores
from tests.panels import panel_of


def test_series_that_never_change_have_a_figure_without_a_mase():
    panel = panel_of(np.zeros(90), np.full(90, 7.0))
    origins = backtest.origin_rows(panel, horizon=7, cutoffs=2, step=7)
    point = baselines.seasonal_naive(panel, origins, 7)
    result = backtest.collect_forecasts(panel, origins, 7, point=point)
    assert np.isnan(scores.compute_metrics(result)["mase"])
    figure = plots.plot_by_series({"seasonal_naive": result, "ours": result}, panel)
    assert figure.axes[0].get_xlim() == (0, 1)
    plt.close(figure)


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    panel = panel_of(*(rng.normal(100 * k, 10 + k, 120) for k in range(1, 17)))
    origins = backtest.origin_rows(panel, horizon=7, cutoffs=2, step=7)
    point = baselines.BASELINES["naive"](panel, origins, 7)
    return panel, backtest.collect_forecasts(panel, origins, 7, point=point)


def test_fan_chart_has_a_swatch_of_its_own_for_each_interval(result):
    panel, points = result
    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    quantiles = points.point[..., None] + np.linspace(-3, 3, len(levels))
    fans = replace(points, quantiles=quantiles, levels=levels)
    figure = plots.plot_fans(fans, panel, rows=[0])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    swatches = {
        text.get_text(): handle.get_facecolor()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if isinstance(handle, Patch)
    }
    assert list(swatches) == ["90 % interval", "80 % interval", "50 % interval"]
    assert len(set(swatches.values())) == 3
    assert all(alpha == 1 for *_, alpha in swatches.values())  # as in the chart
    plt.close(figure)


def test_scatter_names_the_series_that_are_forecast_worst(result):
    panel, points = result
    figure = plots.plot_by_series({"seasonal_naive": points, "ours": points}, panel)
    axis = figure.axes[0]
    names = [text.get_text() for text in axis.texts]
    assert len(names) == plots.NAMED_SERIES
    assert set(names) <= set(panel.ids)
    assert f"{plots.NAMED_SERIES} worst of ours named" in axis.get_title(loc="left")
    heights = sorted(text.xyann[1] for text in axis.texts if isinstance(text, Annotation))
    assert np.diff(heights).min() > 0.04 * axis.get_ylim()[1]  # no name on another
    plt.close(figure)


def test_error_by_day_has_names_for_people():
    panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=200), seed=1)
    origins = backtest.origin_rows(panel, horizon=14, cutoffs=2, step=14)
    results = run_baselines(panel, origins, 14)
    axis = plots.plot_error_by_day(results).axes[0]
    legend = axis.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert "last week's values" in shown
    assert not any("_" in name for name in shown)
