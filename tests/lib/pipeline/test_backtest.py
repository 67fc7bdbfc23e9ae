"""`make backtest` on a user's file: its results, and that it does not know the future."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.models.config import QUANTILES
from lib.pipeline import ParameterError
from lib.pipeline.backtest import run_backtest
from lib.settings import Settings

DAYS, HORIZON, CUTOFFS, STEP = 300, 7, 3, 10
FIRST_CUTOFF = DAYS - HORIZON - (CUTOFFS - 1) * STEP  # days known at it
PARAMETERS = {
    "DATE_COLUMN": "day",
    "VALUE_COLUMN": "units",
    "SERIES_COLUMN": "shop",
    "EXTERNAL_COLUMN": "heat",
    "EVENT_COLUMN": "promotion",
    "HORIZON": str(HORIZON),
    "CUTOFFS": str(CUTOFFS),
    "STEP": str(STEP),
    "N_TRIALS": "2",
    "TRIAL_STEPS": "10",
    "STEPS": "20",
}


def shops():
    """Two shops under a user's own column names; one sells little, and its last days are blank."""
    rng = np.random.default_rng(5)
    parts = []
    for shop, level in (("north", 40.0), ("south", 1.0)):
        heat, promotion = rng.normal(15, 5, DAYS), (rng.random(DAYS) < 0.05).astype(float)
        units = rng.poisson(level * (1 + 0.3 * np.sin(np.arange(DAYS) * 2 * np.pi / 7)), DAYS)
        day = pd.date_range("2022-01-01", periods=DAYS).strftime("%Y-%m-%d")
        table = {"day": day, "shop": shop, "units": units, "heat": heat.round(3)}
        parts.append(pd.DataFrame(table | {"promotion": promotion}))
    table = pd.concat(parts, ignore_index=True).astype({"units": float})
    table.loc[table.index[-HORIZON:], "units"] = np.nan
    return table


def changed(table, columns):
    """The table with columns made others after the first cutoff."""
    late = table["day"] > table["day"].iloc[FIRST_CUTOFF - 1]
    table = table.copy()
    for name in columns:
        new = 1.0 - table[name] if name == "promotion" else 1000.0 + 3 * table[name]
        table[name] = table[name].mask(late, new)
    return table


def backtest(table, folder, **more):
    folder.mkdir()
    table.to_csv(folder / "shops.csv", index=False)
    out = run_backtest(
        "ci",
        PARAMETERS | {"DATA": "shops.csv"} | more,
        out=folder / "judged",
        settings=Settings(var_dir=folder / "var"),
        bases=[folder],
    )
    return pd.read_parquet(out / "forecasts.parquet")


def of_first_cutoff(forecasts):
    first = forecasts[forecasts["cutoff"] == forecasts["cutoff"].min()]
    return first.sort_values(["series_id", "horizon"]).reset_index(drop=True)


@pytest.mark.slow
def test_backtest_of_a_users_file_writes_what_it_says(tmp_path):
    forecasts = backtest(shops(), tmp_path / "run")
    levels = [f"q{level:g}" for level in QUANTILES]
    assert list(forecasts) == ["series_id", "cutoff", "date", "horizon", *levels]
    assert levels == ["q0.05", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.95"]
    # the blank days of the end are forecast as well
    keys = forecasts[["series_id", "cutoff", "horizon"]].drop_duplicates()
    assert len(forecasts) == len(keys) == 2 * CUTOFFS * HORIZON
    last = pd.Timestamp("2022-01-01") + pd.Timedelta(days=DAYS - 1)
    assert forecasts["date"].max() == last
    assert forecasts["cutoff"].max() == last - pd.Timedelta(days=HORIZON)
    assert (forecasts["date"] - forecasts["cutoff"]).dt.days.equals(forecasts["horizon"])
    quantiles = forecasts[levels].to_numpy()
    assert (quantiles >= 0).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    out = tmp_path / "run" / "judged"
    scores = json.loads((out / "metrics.json").read_text())
    assert {"ours", "naive", "seasonal_naive"} <= scores.keys()
    for each in scores.values():
        assert each.keys() == {"mase", "wape", "wql", "coverage_80", "n"}
        assert each["n"] == (2 * CUTOFFS - 1) * HORIZON
    assert scores["naive"]["wql"] > 0
    assert (out / "backtest.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "run" / "var" / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "covariates"),
    [(["units"], "1"), (["units", "heat", "promotion"], "0")],
    ids=["values", "everything_withheld"],
)
def test_backtest_does_not_know_what_follows_the_first_cutoff(tmp_path, columns, covariates):
    table = shops()
    before = backtest(table, tmp_path / "before", COVARIATES=covariates)
    after = backtest(changed(table, columns), tmp_path / "after", COVARIATES=covariates)
    pd.testing.assert_frame_equal(of_first_cutoff(before), of_first_cutoff(after))
    assert not np.array_equal(before["q0.5"], after["q0.5"])  # later cutoffs know some of it


@pytest.mark.slow
def test_backtest_in_python_has_the_scores_of_the_command(tmp_path):
    table = shops()
    own = {name: PARAMETERS[name] for name in PARAMETERS if name.endswith("_COLUMN")}
    spans = {"HORIZON": str(HORIZON), "CUTOFFS": str(CUTOFFS), "STEP": str(STEP)}
    (tmp_path / "shops.csv").write_text(table.to_csv(index=False))
    out = run_backtest(
        "ci",
        own | spans | {"DATA": "shops.csv"},
        out=tmp_path / "judged",
        settings=Settings(var_dir=tmp_path / "var"),
        bases=[tmp_path],
    )
    command = pd.DataFrame(json.loads((out / "metrics.json").read_text())).T
    columns: dict[str, Any] = {
        "date": "day",
        "value": "units",
        "series": "shop",
        "external": "heat",
        "event": "promotion",
    }
    python = Forecaster(horizon=HORIZON).backtest(
        table, cutoffs=CUTOFFS, step=STEP, effort="ci", **columns
    )
    assert python["forecaster"].iloc[0] == "ours"
    assert set(python["forecaster"]) == set(command.index)
    command = command.loc[python["forecaster"]]
    assert python["days"].tolist() == command["n"].tolist()
    for name in ("mase", "wape", "wql", "coverage_80"):
        # The files have nine digits behind the point.
        assert python[name].tolist() == pytest.approx(command[name].tolist(), rel=1e-9)


def heat_forecasts(table):
    """What was said of the heat of the next days, on each of the last 60."""
    heat = table.drop_duplicates("day").set_index("day")["heat"]
    days = heat.index[-60:]
    rows = [
        (days[c + h], days[c], heat[days[c + h]] + 0.5 * h)
        for c in range(60)
        for h in range(1, min(HORIZON + 1, 60 - c))
    ]
    return pd.DataFrame(rows, columns=["day", "known_at", "heat"])


@pytest.mark.slow
def test_a_fit_is_judged_by_what_was_known_at_each_cutoff(tmp_path):
    table = shops()
    plans = heat_forecasts(table)
    first = table["day"].iloc[FIRST_CUTOFF - 1]
    later = plans.assign(heat=plans["heat"].where(plans["known_at"] <= first, 99.0))
    found = []
    for name, sales, future in (
        ("known", table, plans),
        ("later", changed(table, ["heat"]), later),
    ):
        (tmp_path / name).mkdir()
        future.to_csv(tmp_path / name / "plans.csv", index=False)
        found.append(backtest(sales, tmp_path / name / "run", FUTURE="../plans.csv"))
    before, after = found
    pd.testing.assert_frame_equal(of_first_cutoff(before), of_first_cutoff(after), check_exact=True)
    assert not np.array_equal(before["q0.5"], after["q0.5"])
    note = "covariates as known at each cutoff: heat (plans.csv)"
    judged = tmp_path / "known" / "run" / "judged"
    assert json.loads((judged / "verdict.json").read_text())["notes"] == [note]
    assert f"<p>{note}</p>" in (judged / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("day,known_at,hate\n2022-09-01,2022-08-01,1\n", {}, "FUTURE, plans.csv: 'hate' is no"),
        ("day,heat\n2022-09-01,1\n", {}, "FUTURE, plans.csv: there is no column 'known_at'"),
        ("day,known_at,heat\n2022-09-01,2022-08-01,x\n", {}, "plans.csv, column 'heat', line 2"),
        ("day,known_at,heat\n2022-09-01,2022-08-01,1\n", {"COVARIATES": "0"}, "COVARIATES=0"),
        ("day,known_at,heat\n2022-09-01,2022-08-01,1\n", {"DATA": ""}, "expected DATA beside it"),
        (
            "day,known_at,heat\n2022-09-01,2022-08-01,1\n",
            {"FUTURE": "x.csv"},
            "there is no .*x.csv",
        ),
    ],
)
def test_a_wrong_file_of_plans_is_named_before_anything_runs(tmp_path, text, more, message):
    (tmp_path / "plans.csv").write_text(text)
    with pytest.raises(ParameterError, match=message):
        backtest(shops(), tmp_path / "run", **{"FUTURE": "../plans.csv"} | more)
    assert not (tmp_path / "run" / "var").exists()
