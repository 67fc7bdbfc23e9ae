"""`make backtest EFFORT=instant`: seconds, the files of a backtest, the figures of Python."""

import json

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.cli import app
from lib.forecasting import backtest_instantly
from lib.pipeline import ParameterError
from tests.lib.forecasting.conftest import COLUMNS, shop_table

NAMES = {
    "DATE_COLUMN": "day",
    "VALUE_COLUMN": "units",
    "SERIES_COLUMN": "shop",
    "EXTERNAL_COLUMN": "temperature",
    "EVENT_COLUMN": "promo",
}
DAYS = {"HORIZON": "7", "CUTOFFS": "3", "STEP": "7"}


@pytest.fixture(scope="module")
def table():
    return shop_table(days=200)


@pytest.fixture(scope="module")
def written(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("instant")
    table.to_csv(folder / "sales.csv", index=False)
    overrides = NAMES | DAYS | {"DATA": "sales.csv"}
    return backtest_instantly("default", overrides, out=folder / "out", bases=[folder])


def test_figures_are_those_of_python(written, table):
    scores = Forecaster(horizon=7).backtest(table, cutoffs=3, step=7, effort="instant", **COLUMNS)
    found = json.loads((written / "metrics.json").read_text())
    assert set(found) == set(scores["forecaster"])
    for row in scores.to_dict("records"):
        for metric in ("mase", "wape", "wql", "coverage_80"):
            assert found[row["forecaster"]][metric] == pytest.approx(row[metric], rel=1e-9)
        assert found[row["forecaster"]]["n"] == row["days"]


def test_files_are_those_of_a_backtest(written):
    forecasts = pd.read_parquet(written / "forecasts.parquet")
    assert list(forecasts)[:4] == ["series_id", "cutoff", "date", "horizon"]
    assert len(forecasts) == 2 * 3 * 7
    assert (np.diff(forecasts.filter(like="q0").to_numpy(), axis=1) >= 0).all()
    verdict = json.loads((written / "verdict.json").read_text())
    assert {"better", "reason", "left_out"} <= set(verdict)
    report = (written / "report.html").read_text()
    assert "without training" in report
    assert "notebook" not in report
    assert (written / "backtest.png").stat().st_size > 1000
    assert (written / "totals.csv").is_file()


def test_what_follows_the_first_cutoff_moves_no_forecast_of_it(written, table, tmp_path):
    first = pd.read_parquet(written / "forecasts.parquet")["cutoff"].min()
    later = table["day"] > first
    changed = table.assign(units=table["units"].where(~later, 7.0))
    changed.to_csv(tmp_path / "sales.csv", index=False)
    overrides = NAMES | DAYS | {"DATA": "sales.csv"}
    again = backtest_instantly("default", overrides, out=tmp_path / "out", bases=[tmp_path])
    both = [pd.read_parquet(folder / "forecasts.parquet") for folder in (written, again)]
    before, after = (one[one["cutoff"] == first].reset_index(drop=True) for one in both)
    pd.testing.assert_frame_equal(before, after, check_exact=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({}, "DATA: expected a file"), ({"DATA": "a.csv", "STEPS": "9"}, "STEPS: nothing is trained")],
)
def test_wrong_parameters_are_named(tmp_path, overrides, message):
    with pytest.raises(ParameterError, match=message):
        backtest_instantly("default", overrides, out=tmp_path)


def test_command_line_takes_an_effort(table, tmp_path, capsys):
    table.to_csv(tmp_path / "sales.csv", index=False)
    words = ["backtest", "--effort", "instant", "--out", str(tmp_path / "out")]
    words += [f"{name}={value}" for name, value in (NAMES | DAYS).items()]
    assert app.main([*words, f"DATA={tmp_path / 'sales.csv'}"]) == 0
    assert (tmp_path / "out" / "report.html").is_file()


def test_folder_that_cannot_be_made_is_refused(table, tmp_path):
    table.to_csv(tmp_path / "sales.csv", index=False)
    overrides = NAMES | DAYS | {"DATA": "sales.csv"}
    with pytest.raises(ParameterError, match=r"OUT: cannot make the folder .*sales.csv/out"):
        backtest_instantly("default", overrides, out=tmp_path / "sales.csv/out", bases=[tmp_path])
