"""An expected error that no degradation could be found against is no expected error."""

from dataclasses import replace

import numpy as np
import pytest

from lib.evaluation.backtest import origin_rows
from lib.evaluation.baseline_quantiles import run_baselines
from lib.evaluation.sanity import find_insane_series
from lib.evaluation.verdict import judge
from tests.panels import lively_panel


@pytest.fixture(scope="module")
def results():
    panel = lively_panel(days=220, series=3)
    return run_baselines(panel, origin_rows(panel, horizon=7, cutoffs=6, step=7), 7)


def with_series(result, number, **columns):
    """Replace columns of one series by a value."""
    changed = {name: getattr(result, name).copy() for name in columns}
    for name, value in columns.items():
        changed[name][result.series == number] = value
    return replace(result, **changed)


def test_sane_errors_are_found_in_every_baseline(results):
    for result in results.values():
        assert find_insane_series(result) == {}


@pytest.mark.parametrize("value", [1e305, -1e305, 3e17, 1e9])
def test_one_insane_series_among_sane_ones_is_found(results, value):
    result = with_series(results["seasonal_naive"], 1, point=value)
    assert list(find_insane_series(result)) == [1]


def test_one_broken_actual_makes_its_series_insane(results):
    result = results["mean_7"]
    actual = result.actual.copy()
    actual[0, 3] = 1e308
    assert list(find_insane_series(replace(result, actual=actual))) == [result.series[0]]


def test_series_without_a_finite_forecast_is_insane_and_one_without_actuals_is_not(results):
    result = results["naive"]
    assert find_insane_series(with_series(result, 2, point=np.nan)) == {
        2: "no forecast is a number"
    }
    assert find_insane_series(with_series(result, 2, actual=np.nan)) == {}


def test_forecaster_with_an_insane_series_is_never_better(results):
    result = results["weekday_median"]
    actual, tenth = result.actual, 0.1
    almost = replace(
        result,
        point=actual + tenth * (result.point - actual),
        quantiles=actual[..., None] + tenth * (result.quantiles - actual[..., None]),
    )
    assert judge(almost, results).better
    verdict = judge(with_series(almost, 1, point=1e305), results)
    assert not verdict.better
    assert verdict.reason.startswith("the expected error of 1 series is no measure: number 2 of")
