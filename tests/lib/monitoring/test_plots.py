from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from lib.data.series_tables import to_table
from lib.monitoring import plots
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.actuals import join_actuals
from lib.monitoring.drift_reference import build_reference
from lib.monitoring.frames import Frames
from lib.monitoring.report import check_days
from lib.settings import Settings
from tests.lib.monitoring.test_accuracy import served
from tests.years import LIVE, cut, feature_table, year


@pytest.fixture(scope="module")
def checked():
    panel = year(0, series=2)
    reference = build_reference(feature_table(cut(panel, LIVE)))
    history = to_table(panel)[["series_id", "date", "value"]]
    forecasts = served(days=40, series=2)
    names = {"s0": panel.ids[0], "s1": panel.ids[1]}
    day = panel.dates[LIVE : LIVE + 40].astype("datetime64[s]")
    forecasts = forecasts.assign(
        series_id=forecasts["series_id"].map(names), date=np.tile(day, 2), q0=0.0
    )
    frames = Frames(join_actuals(forecasts, history), history, feature_table(panel))
    reports = check_days(
        frames,
        reference,
        ExpectedError.of({"wape": 5.0, "coverage_80": 80.0}),
        days=panel.dates[LIVE + 25 : LIVE + 35],
        trained=panel.dates[LIVE],
        settings=Settings(_env_file=None),
    )
    return reference, frames, reports


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def drawn(checked):
    reference, frames, reports = checked
    latest = reports[-1].drift
    return {
        "forecasts": plots.plot_forecasts(frames.forecasts, 2),
        "accuracy": plots.plot_accuracy(reports),
        "ranking": plots.plot_drift_ranking(latest),
        "distributions": plots.plot_drift_distributions(reference, frames.features, latest),
        "business": plots.plot_business(reports),
    }


def test_figures_have_labelled_axes(checked):
    for name, figure in drawn(checked).items():
        figure.canvas.draw()
        assert figure.axes, name
        for axis in figure.axes:
            assert axis.get_ylabel() or axis.get_xlabel(), name


def test_drift_chart_has_what_is_rare_at_the_right_and_flags_in_words(checked):
    drift = checked[2][-1].drift
    rare = replace(drift.features[4], p_value=1e-4, flags=("distribution",))
    usual = replace(drift.features[5], p_value=1.0, flags=())
    figure = plots.plot_drift_ranking(replace(drift, features=(rare, usual)))
    axis = figure.axes[0]
    figure.canvas.draw()
    to_data = axis.transData.inverted()
    ends = [bar.get_extents().transformed(to_data).x1 for bar in axis.patches]
    assert ends == pytest.approx([1, 10_000])
    assert [label.get_text() for label in axis.get_yticklabels()] == [usual.feature, rare.feature]
    assert "1 in 1,000" in [label.get_text() for label in axis.get_xticklabels()]
    assert axis.get_title(loc="left") == f"flagged (red): {rare.feature}"


def test_version_is_named_as_registered(checked):
    _, texts = plots.plot_accuracy(checked[2]).axes[0].get_legend_handles_labels()
    versions = {s.model_version for report in checked[2] for s in report.accuracy.scores}
    named = {text.split(",")[0] for text in texts}
    assert named == {f"version {v}" if v else "not registered" for v in versions}


def test_figure_of_some_series_says_how_many_there_are(checked):
    assert plots.plot_forecasts(checked[1].forecasts, 1).get_suptitle() == "1 of 2 series shown"
    assert plots.plot_forecasts(checked[1].forecasts, 2).get_suptitle() == ""


def test_figures_of_nothing_are_drawn(checked):
    _, frames, reports = checked
    plots.plot_forecasts(frames.forecasts[:0])
    plots.plot_business(reports[:1]).canvas.draw()
    short = build_reference(feature_table(year(0, series=2))[:60])
    assert not short.usual
    plots.plot_accuracy([]).canvas.draw()
