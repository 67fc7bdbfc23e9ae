"""The command line: help, parameters, errors and exit codes."""

import subprocess
import sys

import pandas as pd
import pytest

from lib.cli import parameters
from lib.cli.app import exit_code_of, main
from lib.data import SeriesError
from lib.pipeline import ParameterError
from lib.settings import ROOT
from tests.lib.forecasting.conftest import shop_table

COMMANDS = (
    *("forecast", "train", "backtest", "explain"),
    *("plan", "serve", "worker", "monitor", "check", "promote", "rollback", "runs"),
)


def test_help_lists_the_commands_and_loads_nothing_heavy():
    code = (
        "import sys; from lib.cli import main; code = main(['--help']);"
        "print(code, sorted({'torch', 'pandas', 'numpy', 'mlflow', 'pydantic', 'matplotlib'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("0 []\n")
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", ["forecast", "train", "backtest", "explain", "monitor"])
def test_help_of_a_command_shows_the_parameters_of_the_notebooks(command, capsys):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    expected = "--source" if command == "monitor" else "--date-column"
    assert expected in shown
    if command == "train":
        assert "days ahead to forecast" in shown


def test_options_and_assignments_mean_the_same():
    words = ["--date-column", "day", "VALUE_COLUMN=units", "--horizon=14"]
    values = parameters.read_overrides(words, parameters.training_parameters)
    assert values == {"DATE_COLUMN": "day", "VALUE_COLUMN": "units", "HORIZON": "14"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--date-colum", "day"], "did you mean --date-column"),
        (["HORIZN=3"], "did you mean HORIZON"),
        (["sales.csv"], "expected an option or NAME=value"),
        (["--horizon"], "expected a value"),
        (["TRIALS_OF_JOB=1"], "there is no parameter"),
    ],
)
def test_unknown_parameters_are_refused_with_the_nearest(words, message):
    with pytest.raises(ParameterError, match=message):
        parameters.read_overrides(words, parameters.forecast_parameters)


def test_forecast_of_a_file_writes_and_exits_0(tmp_path):
    shop_table().to_csv(tmp_path / "sales.csv", index=False)
    arguments = ["--data", str(tmp_path / "sales.csv"), "--out", str(tmp_path / "next.csv")]
    arguments += ["--date-column", "day", "VALUE_COLUMN=units", "SERIES_COLUMN=shop", "HORIZON=5"]
    code = main(["forecast", *arguments, "--effort", "instant"])
    assert code == 0
    forecast = pd.read_csv(tmp_path / "next.csv")
    assert len(forecast) == 10
    assert list(forecast)[:3] == ["series_id", "date", "mean"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["forecast", "--out", "next.csv"], 2, "DATA: expected a file"),
        (["forecast", "--out", "next.csv", "DATA=none.csv"], 2, "there is no"),
        (["forecast", "--out", "next.csv", "DATA=x.csv", "HORIZON=0"], 2, "HORIZON: expected int"),
        (["forecast"], 2, "--out"),
        (["train", "--profile", "none"], 2, "no profile 'none'"),
        (["fit"], 2, "fit"),
        (["promote", "--version", "two"], 2, "--version"),
    ],
)
def test_errors_are_one_line_on_stderr(arguments, code, message, capsys):
    assert main(arguments) == code
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert message in text
    assert text.count("\n") == 1
    assert "Traceback" not in text


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SeriesError("sales.csv: bad"), 1, "error: sales.csv: bad\n"),
        (ParameterError("HORIZON: bad"), 2, "error: HORIZON: bad\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to resume\n"),
    ],
)
def test_exit_code_of_an_error(error, code, message, capsys):
    assert exit_code_of(lambda: fail(error)) == code
    assert capsys.readouterr().err == message


def test_defects_keep_their_traceback():
    with pytest.raises(ValueError, match="defect"):
        exit_code_of(lambda: fail(ValueError("defect")))


@pytest.mark.slow  # the store is created
@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)
def test_runs_without_a_registry_says_what_registers(capsys):
    assert main(["runs"]) == 0
    assert "nothing is registered yet" in capsys.readouterr().out
