import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.data.series_tables import to_table
from lib.evaluation import backtest, baselines, metrics, scores
from lib.monitoring.accuracy import ExpectedError, Limits, measure_accuracy
from lib.monitoring.actuals import join_actuals
from tests.panels import lively_panel

FIRST = np.datetime64("2024-01-01")
EXPECTED = ExpectedError.of({"wape": 10.0, "coverage_80": 80.0})


def served(days=21, series=4, error=0.10, width=0.16, seed=0, version=1, horizon=1):
    """Forecasts of 100 with errors of a given mean size and an interval of ± `width`."""
    rng = np.random.default_rng(seed)
    n = days * series
    actual = 100 * (1 + error * np.sqrt(np.pi / 2) * rng.standard_normal(n))
    return pd.DataFrame(
        {
            "series_id": np.repeat([f"s{i}" for i in range(series)], days),
            "date": np.tile(FIRST + np.arange(days), series).astype("datetime64[s]"),
            "horizon": horizon,
            "model_version": version,
            "q0.1": 100 * (1 - width),
            "q0.5": 100.0,
            "q0.9": 100 * (1 + width),
            "actual": actual,
            "naive": actual + 20,
            "scale": 10.0,
        }
    )


def score(table, expected=EXPECTED, last=FIRST + 20, **options):
    return measure_accuracy(table, expected, first=FIRST, last=last, **options)


@pytest.fixture(scope="module")
def tested():
    """A backtest of noisy forecasts with its table, and the history."""
    panel = lively_panel(days=300, series=3, missing=0.1)
    origins = backtest.origin_rows(panel, horizon=14, cutoffs=6, step=7)
    rng = np.random.default_rng(0)
    truth = backtest.collect_forecasts(
        panel, origins, 14, point=np.zeros((len(origins), 14))
    ).actual
    middle = np.where(np.isfinite(truth), truth, 100) + rng.normal(0, 5, truth.shape)
    quantiles = middle[..., None] + np.array([-8.0, 0.0, 8.0])
    result = backtest.collect_forecasts(
        panel, origins, 14, quantiles=quantiles, levels=(0.1, 0.5, 0.9)
    )
    return panel, origins, result


def joined(panel, result):
    table = backtest.forecast_table(result, panel).drop(columns="actual").assign(model_version=1)
    return join_actuals(table, to_table(panel)[["series_id", "date", "value"]])


def test_join_actuals_agrees_with_a_loop_over_days(tested):
    panel, _, result = tested
    history = to_table(panel)[["series_id", "date", "value"]]
    known = {(s, d): v for s, d, v in history.itertuples(index=False)}
    for row in joined(panel, result).itertuples():
        actual = known.get((row.series_id, row.date), np.nan)
        assert row.actual == pytest.approx(actual, nan_ok=True)
        back = row.date - pd.Timedelta(days=7 * -(-row.horizon // 7))
        tries = (known.get((row.series_id, back - pd.Timedelta(days=7 * w))) for w in range(8))
        naive = next((v for v in tries if v is not None and np.isfinite(v)), np.nan)
        assert row.naive == pytest.approx(naive, nan_ok=True)


def test_join_actuals_has_the_backtests_naive_forecast_and_scale(tested):
    panel, origins, result = tested
    found = joined(panel, result)
    assert found["actual"].to_numpy() == pytest.approx(result.actual.ravel(), nan_ok=True)
    naive = baselines.seasonal_naive(panel, origins, 14).ravel()
    assert found["naive"].to_numpy() == pytest.approx(naive, nan_ok=True)
    scale = metrics.seasonal_scale(panel, panel.dates[origins].min())
    assert found["scale"].to_numpy() == pytest.approx(np.repeat(scale[result.series], 14))


def test_naive_forecast_after_a_long_gap_is_the_backtests(tested):
    panel, origins, result = tested
    gap = panel.dates > panel.dates[origins[-1]] - 70
    values = np.where(gap & (panel.dates <= panel.dates[origins[-1]]), np.nan, panel.values)
    empty = replace(panel, values=values)
    naive = baselines.seasonal_naive(empty, origins, 14).ravel()
    assert np.isfinite(naive).all()
    assert joined(empty, result)["naive"].to_numpy() == pytest.approx(naive)


def test_join_actuals_leaves_an_unknown_series_missing():
    table = served(days=2, series=1).drop(columns=["actual", "naive", "scale"])
    history = pd.DataFrame(
        {"series_id": ["other"], "date": [FIRST.astype("datetime64[s]")], "value": [1.0]}
    )
    assert join_actuals(table, history)[["actual", "naive", "scale"]].isna().all(axis=None)
    assert join_actuals(table, history[:0])["actual"].isna().all()


def test_join_actuals_keeps_the_actual_of_a_trace():
    table = served(days=2, series=1)
    history = pd.DataFrame(
        {"series_id": ["other"], "date": [FIRST.astype("datetime64[s]")], "value": [1.0]}
    )
    assert (join_actuals(table, history)["actual"] == table["actual"]).all()


def test_accuracy_scores_as_the_backtest_does(tested):
    panel, _, result = tested
    days = joined(panel, result)
    blocks = ((1, 1), (2, 7), (8, 14))
    found = measure_accuracy(
        days, EXPECTED, first=panel.dates.min(), last=panel.dates.max(), blocks=blocks
    )
    for score, (low, high) in zip(found.scores, blocks, strict=True):
        expected = scores.compute_metrics(result, first=low, last=high)
        for name in ("mae", "rmse", "r2", "wape", "bias", "mase"):
            assert getattr(score, name) == pytest.approx(expected[name]), name
        assert 100 * score.coverage == pytest.approx(expected["coverage_80"])
        assert score.forecasts == expected["days"]


def test_accuracy_as_expected_flags_nothing():
    found = score(served())
    assert not found.scores[0].flags
    assert found.degradation == 0


def test_accuracy_twice_as_bad_is_degraded():
    found = score(served(error=0.20))
    assert found.scores[0].flags == ("degraded",)
    assert found.degradation == pytest.approx(1.0, abs=0.4)
    assert found.scores[0].degradation_lower < found.scores[0].degradation


def test_accuracy_worse_than_expected_but_covered_is_not_degraded():
    assert not score(served(error=0.20, width=0.5)).scores[0].flags


def test_accuracy_without_intervals_is_judged_by_the_error_alone():
    table = served(error=0.20).drop(columns=["q0.1", "q0.9"])
    assert score(table).scores[0].flags == ("degraded",)


def test_accuracy_of_few_days_is_not_judged():
    assert not score(served(days=9, series=9, error=0.5), last=FIRST + 8).scores[0].flags
    assert not score(served(days=20, series=1, error=0.5)).scores[0].flags


def test_accuracy_does_not_depend_on_units():
    table = served(error=0.20)
    money = ["q0.1", "q0.5", "q0.9", "actual", "naive", "scale"]
    scaled = score(table.assign(**{name: 40 * table[name] for name in money})).scores[0]
    plain = score(table).scores[0]
    for name in ("wape", "coverage", "skill", "mase", "degradation_lower", "flags"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name))
    assert scaled.mae == pytest.approx(40 * plain.mae)


@pytest.mark.parametrize(
    ("limits", "flag"),
    [(Limits(max_mae=1.0), "mae"), (Limits(max_rmse=1.0), "rmse"), (Limits(min_r2=0.9), "r2")],
)
def test_accuracy_beyond_a_limit_is_flagged(limits, flag):
    assert score(served(), limits=limits).scores[0].flags == (flag,)


def test_accuracy_is_by_version_with_its_own_expected_error():
    both = pd.concat([served(error=0.2), served(error=0.2, version=2, seed=1)])
    found = score(both, {1: EXPECTED, 2: ExpectedError.of({"wape": 25.0})})
    assert {s.model_version: s.flags for s in found.scores} == {1: ("degraded",), 2: ()}


def test_accuracy_of_a_version_without_an_expected_error_is_scored_and_not_judged():
    found = score(served(error=0.5), {}).scores[0]
    assert found.mae > 0
    assert not found.flags


def test_accuracy_alarms_when_it_lasts():
    table, previous = served(days=40, error=0.2), None
    alarms = []
    for day in range(20, 24):
        last = FIRST + day
        previous = measure_accuracy(table, EXPECTED, first=last - 20, last=last, previous=previous)
        alarms.append(previous.alarm)
    assert alarms == [False, False, True, True]
    assert previous.alarms == ("1 1 degraded",)


def test_accuracy_of_nothing_has_no_scores():
    found = score(served()[:0])
    assert found.scores == ()
    assert not found.alarm


def test_accuracy_is_the_same_each_time_and_json():
    first, second = score(served(error=0.2)), score(served(error=0.2))
    assert first == second
    assert json.loads(json.dumps(first.to_json(), allow_nan=False)) == first.to_json()


def test_expected_error_takes_the_blocks_of_enough_days():
    found = ExpectedError.of(
        {"wape": 8.0, "wape@1": 5.0, "days@1": 40.0, "wape@2-7": 6.0, "days@2-7": 12.0}
    )
    assert found.get("wape", "1") == 5.0
    assert found.get("wape", "2-7") == 8.0
    assert found.get("wape", "8-28") == 8.0
    assert np.isnan(found.get("r2", "1"))


@pytest.mark.parametrize("healthy", [0, 8, 12])
def test_accuracy_keeps_the_first_day_of_degradation(healthy):
    """Kept while it lasts, though the day itself leaves the window."""
    good, bad = served(days=60, error=0.10, width=0.16), served(days=60, error=0.30, width=0.16)
    change = FIRST + 20
    early = good["date"].to_numpy() < change
    table = pd.concat([good[early], bad[~early]])
    previous = None
    for day in range(40 - healthy, 56):
        last = FIRST + day
        previous = measure_accuracy(table, EXPECTED, first=last - 20, last=last, previous=previous)
    assert previous is not None
    assert abs(int((np.datetime64(previous.first_detected) - change).astype(int))) <= 1
    assert score(good).first_detected == ""


def test_accuracy_of_a_version_that_is_new_is_judged_by_the_days_it_has():
    bad = served(days=21, error=0.5)
    new = bad[bad["date"].to_numpy() >= FIRST + 10]
    found = score(new).scores[0]
    assert found.days == 11
    assert np.isfinite(found.degradation_lower)
    assert found.flags == ("degraded",)
