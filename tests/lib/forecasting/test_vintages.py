"""Backtests with covariates as they were known at each cutoff (`FUTURE`, `future=`)."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lib import Forecaster, evaluation
from lib.cli import main
from lib.data import SeriesError, to_panel
from lib.forecasting import backtest_instantly, forecast_file
from lib.pipeline import ParameterError, show_summary, summarize_backtest

DAYS, HORIZON, CUTOFFS, STEP = 420, 7, 4, 7
NAMES = {
    "DATE_COLUMN": "day",
    "VALUE_COLUMN": "units",
    "SERIES_COLUMN": "shop",
    "COVARIATES": "temp",
    "HORIZON": str(HORIZON),
    "CUTOFFS": str(CUTOFFS),
    "STEP": str(STEP),
}


def weather_and_sales():
    """Two shops whose sales follow a temperature, and its forecasts of 14 days, made every day."""
    rng = np.random.default_rng(3)
    day, t = pd.date_range("2023-01-01", periods=DAYS), np.arange(DAYS)
    deviation = np.zeros(DAYS)
    for i in range(1, DAYS):
        deviation[i] = 0.7 * deviation[i - 1] + rng.normal(0, 3)
    temp = (15 + 8 * np.sin(2 * np.pi * t / 365) + deviation).round(2)
    usual = 100 * (1 + 0.2 * np.sin(2 * np.pi * t / 7)) * np.exp(0.04 * deviation)
    sales = [
        {"day": day, "shop": shop, "units": usual * np.exp(rng.normal(0, 0.05, DAYS)), "temp": temp}
        for shop in ("north", "south")
    ]
    plans = [
        (day[c + h], day[c], (temp[c + h] + rng.normal(0, 3 * np.sqrt(h / 14))).round(2))
        for c in range(DAYS - 60, DAYS)
        for h in range(1, min(15, DAYS - c))
    ]
    columns = ["day", "known_at", "temp"]
    return pd.concat(map(pd.DataFrame, sales)), pd.DataFrame(plans, columns=columns)


@pytest.fixture(scope="module")
def tables():
    return weather_and_sales()


def backtest(sales, future=None):
    return Forecaster(horizon=HORIZON).backtest(
        sales,
        cutoffs=CUTOFFS,
        step=STEP,
        effort="instant",
        future=future,
        date="day",
        value="units",
        series="shop",
        covariates=["temp"],
    )


def run(folder, sales, plans, **more):
    folder.mkdir()
    sales.to_csv(folder / "sales.csv", index=False)
    plans.to_csv(folder / "plans.csv", index=False)
    files = {"DATA": "sales.csv", "FUTURE": "plans.csv"}
    return backtest_instantly("default", NAMES | files | more, out=folder / "out", bases=[folder])


@pytest.fixture(scope="module")
def written(tables, tmp_path_factory):
    return run(tmp_path_factory.mktemp("vintages") / "first", *tables)


def forecasts_until(folder, cutoff):
    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    return forecasts[forecasts["cutoff"] <= cutoff].reset_index(drop=True)


def test_a_forecast_of_the_weather_is_worth_less_than_the_weather_and_more_than_nothing(tables):
    sales, plans = tables
    truth, known = backtest(sales), backtest(sales, plans)
    nothing = backtest(sales, plans[plans["known_at"] == plans["known_at"].max()])
    for metric in ("mase", "wql"):
        best, between, worst = (scores[metric].iloc[0] for scores in (truth, known, nothing))
        assert 1.1 * best < between < 0.9 * worst
    pd.testing.assert_frame_equal(truth.iloc[1:], known.iloc[1:])
    assert truth.attrs["notes"] == []
    assert known.attrs["notes"] == ["covariates as known at each cutoff: temp (future)"]
    assert nothing.attrs["notes"][1] == "temp was known for 0 of the 56 days ahead"


def test_what_was_known_later_moves_no_forecast(written, tables, tmp_path):
    sales, plans = tables
    cutoffs = np.sort(pd.read_parquet(written / "forecasts.parquet")["cutoff"].unique())
    for number, cutoff in enumerate(cutoffs):
        later = plans["known_at"] > cutoff
        changed = plans.assign(temp=plans["temp"].where(~later, plans["temp"] + 9))
        again = run(tmp_path / str(number), sales, changed)
        pd.testing.assert_frame_equal(
            forecasts_until(written, cutoff), forecasts_until(again, cutoff), check_exact=True
        )
        if number + 1 < len(cutoffs):
            last = [pd.read_parquet(out / "forecasts.parquet")["q0.5"] for out in (written, again)]
            assert not np.array_equal(*last)


def test_what_came_true_of_a_covariate_moves_no_forecast_before_it(written, tables, tmp_path):
    sales, plans = tables
    first = pd.read_parquet(written / "forecasts.parquet")["cutoff"].min()
    changed = sales.assign(temp=sales["temp"].where(sales["day"] <= first, 40 - sales["temp"]))
    again = run(tmp_path / "truth", changed, plans)
    pd.testing.assert_frame_equal(
        forecasts_until(written, first), forecasts_until(again, first), check_exact=True
    )


def test_the_report_says_which_covariates_were_as_known_then(written, tables):
    note = "covariates as known at each cutoff: temp (plans.csv)"
    assert json.loads((written / "verdict.json").read_text())["notes"] == [note]
    assert f"<p>{note}</p>" in (written / "report.html").read_text()
    summary = summarize_backtest(written, {"DATA": "sales.csv", "FUTURE": "plans.csv"} | NAMES)
    assert list(summary.notes) == [note]
    assert all("DATA=sales.csv FUTURE=plans.csv" in command for command in summary.next_steps)
    console = Console(record=True, file=io.StringIO())
    show_summary(summary, console)
    assert note in console.export_text()
    found = json.loads((written / "metrics.json").read_text())["ours"]
    assert found["mase"] == pytest.approx(backtest(*tables)["mase"].iloc[0], rel=1e-9)


def test_a_run_without_plans_has_no_note(tables, tmp_path):
    out = run(tmp_path / "none", *tables, FUTURE="")
    assert json.loads((out / "verdict.json").read_text())["notes"] == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"FUTURE": "gone.csv"}, "FUTURE: expected a CSV or Parquet file, there is no"),
        ({"DATA": ""}, "FUTURE: expected DATA beside it"),
        ({"COVARIATES": "0", "EXTERNAL_COLUMN": "temp"}, "FUTURE: COVARIATES=0 withholds"),
    ],
)
def test_parameters_that_do_not_fit_are_named(tables, tmp_path, parameters, message):
    with pytest.raises(ParameterError, match=message):
        run(tmp_path / "wrong", *tables, **parameters)


def test_the_command_names_file_line_and_remedy(tables, tmp_path, capsys):
    sales, plans = tables
    sales.to_csv(tmp_path / "sales.csv", index=False)
    plans.rename(columns={"temp": "tmep"}).to_csv(tmp_path / "plans.csv", index=False)
    words = [f"{name}={value}" for name, value in NAMES.items()]
    words += [f"DATA={tmp_path / 'sales.csv'}", f"FUTURE={tmp_path / 'plans.csv'}"]
    assert main(["backtest", "--out", str(tmp_path / "out"), "--effort", "instant", *words]) != 0
    assert "FUTURE, plans.csv: 'tmep' is no covariate" in capsys.readouterr().err


def test_the_same_file_is_a_plan_of_the_coming_days(tables, tmp_path):
    sales, plans = tables
    sales.to_csv(tmp_path / "sales.csv", index=False)
    last = sales["day"].max()
    days = pd.date_range(last + pd.Timedelta(days=1), periods=HORIZON)
    newest = pd.DataFrame({"day": days, "known_at": last, "temp": 12.0})
    newer = newest[2:].assign(known_at=last + pd.Timedelta(days=2), temp=15.0)
    both = pd.concat([newer, newest, newest.assign(known_at="2023-12-01", temp=-5.0)])
    single = newest.assign(temp=[12.0] * 2 + [15.0] * 5).drop(columns="known_at")
    forecasts = []
    for name, future in {"both": pd.concat([plans, both]), "single": single}.items():
        future.to_csv(tmp_path / "plans.csv", index=False)
        result = forecast_file(
            tmp_path / "sales.csv",
            tmp_path / f"{name}.csv",
            horizon=HORIZON,
            effort="instant",
            future=tmp_path / "plans.csv",
            reading={
                "date_column": "day",
                "value_column": "units",
                "series_column": "shop",
                "covariates": ["temp"],
            },
        )
        assert "temp is known for all days ahead" in result.notes
        forecasts.append(result.forecast)
    first, second = forecasts
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_scenario_takes_the_latest_plan_of_each_covariate(tables):
    sales = tables[0].assign(promo=lambda t: np.arange(len(t)) % 5 == 0)
    model = Forecaster(horizon=HORIZON).fit(
        sales, "day", "units", "shop", effort="instant", covariates=["temp", "promo"]
    )
    days = pd.date_range(sales["day"].max() + pd.Timedelta(days=1), periods=HORIZON)
    newest = pd.DataFrame({"day": days, "temp": 25.0, "promo": 1})
    older = newest.assign(temp=-5.0, promo=0, known_at="2024-01-01")
    both = pd.concat([newest.assign(known_at="2024-01-02"), older])
    found = [model.scenarios({"hot": plan}, [7], by_covariate=True) for plan in (both, newest)]
    pd.testing.assert_frame_equal(found[0], found[1])


def test_vintages_are_of_no_use_where_nothing_is_known_ahead(fitted, tables):
    panel, (_, plans) = to_panel(fitted.history), tables
    with pytest.raises(ValueError, match="vintages: expected None"):
        evaluation.run_backtest(
            fitted._require_model(), panel, np.array([100]), known_future=False, vintages=plans
        )


def test_a_covariate_of_that_name_stays_one(tables):
    sales = tables[0].rename(columns={"temp": "known_at"})
    model = Forecaster(horizon=HORIZON).fit(
        sales, "day", "units", "shop", effort="instant", covariates=["known_at"]
    )
    day = sales["day"].max() + pd.Timedelta(days=1)
    model.predict(pd.DataFrame({"day": [day], "known_at": [9.0]}))
    assert "known_at is known for 2 of the 14 days ahead of all 2 series" in model.notes
    with pytest.raises(SeriesError, match="a covariate is named 'known_at'"):
        Forecaster(horizon=HORIZON).backtest(
            sales,
            effort="instant",
            future=pd.DataFrame({"day": [day], "known_at": [9.0]}),
            date="day",
            value="units",
            series="shop",
            covariates=["known_at"],
        )
