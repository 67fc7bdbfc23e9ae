"""Rolling origins and scores, against plain loops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.evaluation import backtest, baselines, scores
from lib.evaluation.baseline_quantiles import run_baselines
from tests.panels import FIRST, lively_panel, panel_of

HORIZON = 7


def loop_history(panel, end, days):
    series = panel.series_of(end)
    start = panel.offsets[series]
    return [panel.values[r] if r >= start else np.nan for r in range(end - days + 1, end + 1)]


def test_cutoffs_are_common_days_the_last_one_a_horizon_before_the_end():
    panel = lively_panel(days=100)
    rows = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=3, step=5)
    expected = [FIRST + 99 - 7 - 10, FIRST + 99 - 7 - 5, FIRST + 99 - 7]
    assert panel.dates[rows].tolist() == [day.item() for day in expected] * 2


def test_series_that_has_not_begun_or_has_ended_takes_no_part():
    panel = panel_of(np.ones(100), np.ones(60))
    rows = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=3, step=20)
    assert (rows < 100).sum() == 3
    assert panel.dates[rows[rows >= 100]].tolist() == [(FIRST + 52).item()]


def test_young_series_takes_part_once_a_value_is_known():
    young = np.append(np.full(3, np.nan), np.ones(47))
    panel = panel_of(np.ones(100), young[:60])
    late = replace(panel, dates=np.append(panel.dates[:100], FIRST + np.arange(50, 100)))
    rows = backtest.origin_rows(late, horizon=HORIZON, cutoffs=3, step=20)  # days 52, 72 and 92
    assert late.dates[rows[rows >= 100]].tolist() == [(FIRST + d).item() for d in (72, 92)]


@pytest.mark.parametrize("name", list(baselines.BASELINES))
def test_baselines_equal_a_plain_loop(name):
    panel = lively_panel(days=120, missing=0.2)
    origins = np.array([60, 90, 100, 180, 230])
    found = baselines.BASELINES[name](panel, origins, 10)
    for row, end in enumerate(origins):
        month = loop_history(panel, end, 28)
        seen = [v for v in month if not np.isnan(v)]
        for h in range(10):
            if name == "naive":
                expected = seen[-1]
            elif name == "mean_7":
                week = [v for v in month[-7:] if not np.isnan(v)]
                expected = np.mean(week or seen)
            else:
                weeks = loop_history(panel, end, 56)[h % 7 :: 7]
                seen_weeks = [v for v in weeks if not np.isnan(v)]
                expected = np.median(seen_weeks) if "median" in name else seen_weeks[-1]
            assert found[row, h] == pytest.approx(expected), (end, h)


@pytest.mark.parametrize("name", list(baselines.BASELINES))
def test_baselines_repeat_what_was_last_known_before_a_long_gap(name):
    values = np.arange(200.0)
    values[100:] = np.nan
    found = baselines.BASELINES[name](panel_of(values, np.ones(200)), np.array([180]), 10)
    assert (found == 99).all()


def test_scores_equal_their_definitions():
    rng = np.random.default_rng(0)
    panel = lively_panel(days=120, missing=0.1)
    origins = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=2, step=7)
    levels = (0.1, 0.5, 0.9)
    quantiles = np.sort(rng.normal(100, 10, (len(origins), HORIZON, 3)), axis=-1)
    result = backtest.collect_forecasts(panel, origins, HORIZON, quantiles=quantiles, levels=levels)
    found = scores.compute_metrics(result)
    errors, scaled, loss, inside, truths = [], {}, [], [], []
    for row, end in enumerate(origins):
        s = result.series[row]
        values = panel.values[panel.series(s)][: 120 - 14]  # up to the first cutoff
        scale = np.nanmean([abs(b - a) for a, b in zip(values, values[7:], strict=False)])
        for h in range(HORIZON):
            y = panel.values[end + 1 + h]
            if np.isnan(y):
                continue
            low, middle, high = quantiles[row, h]
            errors.append(middle - y)
            truths.append(y)
            scaled.setdefault(s, []).append(abs(middle - y) / scale)
            inside.append(low <= y <= high)
            loss.append(
                [
                    max(q * (y - f), (q - 1) * (y - f))
                    for q, f in zip(levels, quantiles[row, h], strict=True)
                ]
            )
    errors, truths = np.array(errors), np.array(truths)
    assert found["days"] == len(errors)
    assert found["mae"] == pytest.approx(np.abs(errors).mean())
    assert found["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert found["bias"] == pytest.approx(errors.mean())
    assert found["r2"] == pytest.approx(
        1 - (errors**2).sum() / ((truths - truths.mean()) ** 2).sum()
    )
    assert found["wape"] == pytest.approx(100 * np.abs(errors).sum() / truths.sum())
    assert found["mase"] == pytest.approx(np.mean([np.mean(v) for v in scaled.values()]))
    assert found["coverage_80"] == pytest.approx(100 * np.mean(inside))
    assert found["pinball_0.1"] == pytest.approx(np.mean(loss, axis=0)[0])
    assert found["wql"] == pytest.approx(100 * 2 * np.mean(loss, axis=1).sum() / truths.sum())


def test_perfect_forecast_scores_zero_error():
    panel = lively_panel(days=120)
    origins = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=2, step=7)
    truth = backtest.collect_forecasts(
        panel, origins, HORIZON, point=np.zeros((len(origins), HORIZON))
    ).actual
    found = scores.compute_metrics(backtest.collect_forecasts(panel, origins, HORIZON, point=truth))
    assert (found["mae"], found["mase"], found["smape"], found["r2"]) == (0, 0, 0, 1)


def test_blocks_cut_the_horizon_and_days_number_from_one():
    panel = lively_panel(days=200)
    origins = backtest.origin_rows(panel, horizon=10, cutoffs=2, step=7)
    result = backtest.collect_forecasts(
        panel, origins, 10, point=baselines.naive(panel, origins, 10)
    )
    assert scores.metrics_by_block(result).index.tolist() == ["1", "2-7", "8-10"]
    assert scores.metrics_by_day(result).index.tolist() == list(range(1, 11))
    assert scores.metrics_by_block(result).loc["1", "mae"] == pytest.approx(
        scores.metrics_by_day(result).loc[1, "mae"]
    )


def test_constant_series_has_no_mase_and_spoils_no_other():
    panel = panel_of(np.full(100, 3.0), np.arange(100.0))
    origins = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=1, step=7)
    found = scores.compute_metrics(
        backtest.collect_forecasts(
            panel, origins, HORIZON, point=baselines.naive(panel, origins, HORIZON)
        )
    )
    assert found["mase"] == pytest.approx(4 / 7)


def test_truth_that_is_all_missing_scores_nothing():
    values = np.append(np.arange(93.0), np.full(7, np.nan))
    panel = panel_of(values)
    quantiles = np.tile(np.arange(3.0), (1, HORIZON, 1))
    found, other = (
        scores.compute_metrics(
            backtest.collect_forecasts(
                panel, origins, HORIZON, quantiles=quantiles, levels=(0.1, 0.5, 0.9)
            )
        )
        for origins in (np.array([92]), np.array([80]))
    )
    assert found.pop("days") == 0
    assert np.isnan(list(found.values())).all()
    assert found.keys() | {"days"} == other.keys()  # tables of scores have the same columns
    assert np.isfinite(list(other.values())).all()


def test_table_of_forecasts_has_a_row_for_each_day_ahead():
    panel = lively_panel(days=120)
    origins = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=2, step=7)
    quantiles = np.zeros((len(origins), HORIZON, 3))
    table = backtest.forecast_table(
        backtest.collect_forecasts(
            panel, origins, HORIZON, quantiles=quantiles, levels=(0.1, 0.5, 0.9)
        ),
        panel,
    )
    assert table.columns.tolist() == [
        "series_id", "cutoff", "date", "horizon", "actual", "q0.1", "q0.5", "q0.9",
    ]  # fmt: skip
    assert len(table) == len(origins) * HORIZON
    assert (table["date"] - table["cutoff"] == pd.to_timedelta(table["horizon"], unit="D")).all()


def test_forecast_that_is_not_finite_is_an_error_and_not_left_out(tiny_model, monkeypatch):
    panel = lively_panel(days=400, missing=0.0)
    origins = backtest.origin_rows(panel, horizon=tiny_model.contract.horizon, cutoffs=2, step=5)
    whole = tiny_model.predict

    def broken(features, future):
        quantiles = whole(features, future).copy()
        quantiles[1, 0] = np.nan
        return quantiles

    monkeypatch.setattr(tiny_model, "predict", broken)
    with pytest.raises(ValueError, match=r"not finite \(1 of 4 forecasts\)"):
        backtest.run_backtest(tiny_model, panel, origins)


def test_revision_is_the_change_of_a_forecast_of_the_same_days():
    panel = panel_of(np.arange(100.0), np.arange(60.0))
    origins = np.array([50, 89, 158])

    def forecast(rows):
        return np.repeat(panel.values[rows][:, None], 21, axis=1)  # the last value, repeated

    found = backtest.measure_revisions(panel, origins, forecast(origins), forecast)
    np.testing.assert_array_equal(found, [7.0, 7.0, np.nan])  # the last series ends before
    short = backtest.measure_revisions(
        panel, origins[:1], forecast(origins[:1])[:, :4], lambda rows: forecast(rows)[:, :4]
    )
    assert short[0] == 2.0  # half a horizon later
    single = backtest.measure_revisions(panel, origins, forecast(origins)[:, :1], forecast)
    assert np.isnan(single).all()


def test_revision_is_scored_over_the_whole_horizon_alone():
    panel = lively_panel(days=220)
    origins = backtest.origin_rows(panel, horizon=14, cutoffs=3, step=14)
    results = run_baselines(panel, origins, 14, revisions=True)
    found = scores.compute_metrics(results["naive"])
    scaled = pd.Series(results["naive"].revision / results["naive"].scale)
    expected = scaled.groupby(results["naive"].series).mean().mean()
    assert found["revision"] == pytest.approx(expected)
    assert "revision" not in scores.compute_metrics(results["naive"], last=7)
    steady = scores.compute_metrics(results["weekday_median"])["revision"]
    assert steady < found["revision"]
