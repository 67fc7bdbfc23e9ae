"""The comparison's own parts: one score for all, and no peer that knows the future."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy import peers, public, report, robustness
from benchmarks.accuracy.scores import score
from lib.data.series_tables import to_table
from lib.evaluation import backtest, baselines, scores
from lib.models.config import QUANTILES
from tests.panels import lively_panel

HORIZON = 7
LEVELS = [f"q{level:g}" for level in QUANTILES]


def some_forecasts():
    panel = lively_panel(days=200)
    origins = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=2, step=10)
    rng = np.random.default_rng(3)
    quantiles = np.sort(100 + 10 * rng.standard_normal((len(origins), HORIZON, len(QUANTILES))))
    result = backtest.collect_forecasts(
        panel, origins, HORIZON, quantiles=quantiles, levels=QUANTILES
    )
    return panel, origins, result


def renamed(panel):
    table = to_table(panel)
    return table.rename(columns={"series_id": "unique_id", "date": "ds", "value": "y"})


def test_score_of_a_file_in_any_order_is_that_of_the_backtest():
    panel, origins, result = some_forecasts()
    table = (
        backtest.forecast_table(result, panel).drop(columns="actual").sample(frac=1, random_state=0)
    )
    expected = scores.compute_metrics(result)
    found = score(table, panel, origins, HORIZON)
    assert found == {name: round(expected[name], 4) for name in found}
    assert found.keys() == {"mase", "wape", "wql", "coverage_80"}


def test_score_refuses_a_file_with_a_forecast_left_out():
    panel, origins, result = some_forecasts()
    table = backtest.forecast_table(result, panel).drop(columns="actual")
    with pytest.raises(ValueError, match="1 forecasts are missing"):
        score(table.iloc[1:], panel, origins, HORIZON)


def test_gaps_are_filled_from_the_same_weekday_and_not_from_after_the_cutoff():
    table = renamed(lively_panel(days=120, missing=0.2))
    cutoff = table["ds"].iloc[79]
    later = table.copy()
    later.loc[later["ds"] > cutoff, "y"] = 1e6
    before = peers.until(peers.grid(table, []), cutoff)
    pd.testing.assert_frame_equal(before, peers.until(peers.grid(later, []), cutoff))
    assert before["y"].notna().all()
    weeks = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=21)})
    weeks["y"] = np.tile(np.arange(7.0), 3)
    weeks.loc[9, "y"] = np.nan  # the third weekday, between two whose value is 2
    filled = peers.until(peers.grid(weeks, []), weeks["ds"].iloc[-1])
    assert filled["y"].iloc[9] == 2


def test_weekday_median_is_that_of_the_project():
    panel = lively_panel(days=200, missing=0.0)
    origins = backtest.origin_rows(panel, horizon=10, cutoffs=2, step=10)
    job = {"horizon": 10, "levels": list(QUANTILES)}
    cutoffs = list(pd.DatetimeIndex(np.unique(panel.dates[origins])))
    found = pd.concat(peers.weekday_median(job, peers.grid(renamed(panel), []), cutoffs, []))
    found = found.sort_values(["series_id", "cutoff", "horizon"])
    expected = baselines.weekday_median(panel, origins, 10)
    np.testing.assert_allclose(found["q0.5"].to_numpy().reshape(expected.shape), expected)
    assert (np.diff(found[LEVELS], axis=1) >= 0).all()


def test_report_writes_rows_of_exactly_the_columns_it_names(tmp_path):
    what = {"data_set": "bike", "model": "ours", "covariates": True, "horizon": 28, "cutoffs": 6}
    row = what | {"mase": 0.9, "wape": 12.0, "wql": 8.0, "coverage_80": 80.0, "seconds": 60.0}
    other = row | {"model": "AutoETS", "covariates": False, "mase": 1.1}
    text = report.write_report([row | {"more": 1}, other], tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == [row, other]
    assert "| ours | yes | 0.900 |" in text
    assert (tmp_path / "mase.png").is_file()
    assert (tmp_path / "seconds.png").is_file()


def test_rank_is_the_mean_over_sets_and_metrics_of_models_that_ran_on_all(tmp_path):
    scores = {  # MASE and WQL: ours first and second, then level with the other
        ("bike", "ours"): (1.0, 8.0),
        ("bike", "NHITS"): (2.0, 4.0),
        ("nn5", "ours"): (1.0, 5.0),
        ("nn5", "NHITS"): (1.0, 5.0),
        ("nn5", "TFT"): (0.1, 0.1),  # not on bike: ranked nowhere
    }
    fixed = {"covariates": False, "horizon": 28, "cutoffs": 6, "wape": 9.0, "seconds": 1.0}
    fixed["coverage_80"] = 80.0
    rows = [
        {"data_set": data_set, "model": model, "mase": mase, "wql": wql, "coverage_80": 80.0}
        | fixed
        for (data_set, model), (mase, wql) in scores.items()
    ]
    better = rows[0] | {"covariates": True, "wql": 3.0}
    text = report.write_report([*rows, better], tmp_path)
    without, each = text.split("### Mean rank")[1:3]
    assert "| ours | 1.50 |\n| NHITS | 1.50 |" in without or "| NHITS | 1.50 |\n| ours" in without
    assert "| ours | 1.25 |\n| NHITS | 1.75 |" in each
    assert "TFT" not in without
    assert "TFT" not in each.split("### Accuracy")[0]
    seconds = text.split("### Accuracy against seconds")[1].split("### ")[0]
    assert "(bike, nn5)" in seconds
    assert "TFT" not in seconds


def test_conditions_spoil_what_is_given_and_not_what_is_scored():
    ladder = robustness.MISSING
    clean, truth, cutoff = robustness.world(robustness.Condition(ladder, 0), 2, 1)
    gaps, same, _ = robustness.world(robustness.Condition(ladder, 20), 2, 1)
    np.testing.assert_array_equal(truth.values, same.values)
    assert np.isfinite(same.values).all()
    share = gaps["value"].isna().mean()
    assert 0.15 < share < 0.25
    kept = gaps["value"].notna()
    np.testing.assert_array_equal(gaps["value"][kept], clean["value"][kept])
    risen, truth_after, _ = robustness.world(robustness.Condition(robustness.REGIME, 7), 2, 1)
    rise = risen["value"] / clean["value"]
    late = risen["date"] > cutoff - pd.Timedelta(days=7)
    np.testing.assert_allclose(rise[late & (clean["value"] > 0)], 1 + robustness.JUMP)
    np.testing.assert_array_equal(rise[~late & (clean["value"] > 0)], 1.0)
    np.testing.assert_array_equal(truth_after.values, risen["value"])
    short, whole, _ = robustness.world(robustness.Condition(robustness.HISTORY, 90), 2, 1)
    assert len(short) == 2 * (90 + robustness.HORIZON)
    assert len(whole.values) == len(truth.values)


def test_public_scores_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    dates = pd.date_range("2024-01-01", periods=40)
    table = pd.DataFrame({"date": dates, "value": rng.uniform(50, 100, 40)})
    quantiles = np.sort(rng.uniform(50, 100, (20, len(QUANTILES))), axis=1)
    forecasts = pd.DataFrame(quantiles, columns=LEVELS)
    forecasts["date"] = dates[20:]
    forecasts["cutoff"] = np.repeat(dates[[19, 29]], 10)
    found = public.score(forecasts, table)
    values, errors, losses = table["value"].to_numpy(), [], np.zeros(9)
    for i in range(20):
        known = values[: 20 if i < 10 else 30]
        scale = np.mean([abs(a - b) for a, b in zip(known[1:], known, strict=False)])
        errors.append(abs(values[20 + i] - quantiles[i, 3]) / scale)
        for k, level in enumerate(public.LEVELS):
            gap = values[20 + i] - public.interpolate(quantiles[[i]])[0, k]
            losses[k] += 2 * (level * gap if gap > 0 else (level - 1) * gap)
    assert found["mase"] == pytest.approx(np.mean(errors), abs=1e-4)
    assert found["quantile_loss"] == pytest.approx((losses / values[20:].sum()).mean(), abs=1e-5)


def test_public_table_shows_our_rows_beside_the_published_ones():
    rows = [
        {
            "covariates": c,
            "mase": 0.3,
            "quantile_loss": 0.015,
            "seconds": 100.0,
            "seed": 0,
            "steps": None,
        }
        for c in (False, True)
    ]
    table = public.describe(rows)
    assert "| **ours**, the series alone | 0.300 | 0.0150 | 100 |" in table
    assert "| Chronos-2* | 0.327 | 0.0165 |  |" in table
    assert "GIFT-Eval leaderboard" in table


def test_peers_take_covariates_as_numbers():
    table = pd.DataFrame(
        {
            "fator_externo": [np.nan, np.nan, np.nan],
            "evento_especial": [0.0, 1.0, 0.0],
            "known:number:price": [1.0, np.nan, 3.0],
            "known:category:weather": ["dry", None, "wet"],
        }
    )
    found, used = peers.numbers(table)
    assert used == ["evento_especial", "price", "weather_dry", "weather_wet"]
    np.testing.assert_array_equal(found["weather_dry"], [1.0, np.nan, 0.0])
