"""The command line: help, parameters, errors and exit codes."""

import subprocess
import sys

import pandas as pd
import pytest

from lib.cli import parameters
from lib.cli.app import exit_code_of, main
from lib.data import SeriesError
from lib.pipeline import ParameterError, profile_values
from lib.settings import ROOT, get_settings
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
        (["forcast"], 2, "Did you mean 'forecast'? See --help."),
        (["forecast", "--out", "next.csv", "DATA=x.csv", "HORIZON=400"], 2, "1 to 360"),
        (["runs", "HORIZON=3"], 2, "expected an option or a setting"),
        (["rollback", "sales"], 2, "expected an option or a setting"),
        (["check", "--log-level"], 2, "expected a value behind it"),
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


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 0
    shown = capsys.readouterr()
    assert " forecast " in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("word", ["REGISTERED_MODEL_NAME=shops", "--registered-model-name=shops"])
def test_settings_are_taken_as_parameters_are(word, monkeypatch):
    monkeypatch.setenv("REGISTERED_MODEL_NAME", "before")  # taken back after the test
    words = ["HORIZON=3", word, "--date-column", "day"]
    values = parameters.read_overrides(words, parameters.training_parameters)
    assert values == {"HORIZON": "3", "DATE_COLUMN": "day"}
    assert get_settings(None).registered_model_name == "shops"


@pytest.mark.parametrize("command", ["check", "promote", "rollback", "runs"])
def test_commands_of_the_registry_take_settings(command, monkeypatch):
    monkeypatch.setenv("REGISTERED_MODEL_NAME", "before")
    seen = []
    for name in ("lib.cli.app.call_registry", "lib.cli.runs.print_versions"):
        monkeypatch.setattr(name, lambda *_: seen.append(get_settings(None).registered_model_name))
    monkeypatch.setattr(
        "lib.pipeline.check.main", lambda _: seen.append(get_settings(None).registered_model_name)
    )
    version = ["--version", "1"] if command == "promote" else []
    main([command, *version, "REGISTERED_MODEL_NAME=shops"])
    assert seen == ["shops"]


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_programs_that_are_started_get_settings(command, monkeypatch):
    monkeypatch.setenv("REGISTERED_MODEL_NAME", "before")
    started = []
    monkeypatch.setattr("os.execv", lambda _, words: started.append(words[2:]))
    main([command, "--port", "8001", "REGISTERED_MODEL_NAME=shops"])
    assert started == [
        [f"serving.{'server' if command == 'serve' else 'worker'}", "--port", "8001"]
    ]
    assert get_settings(None).registered_model_name == "shops"


@pytest.mark.parametrize(("words", "profile"), [([], "default"), (["--profile", "ci"], "ci")])
def test_help_shows_the_values_of_the_profile(words, profile, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["train", *words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = profile_values(profile)["03_training"]
    for option, value in (("--cutoffs", values["CUTOFFS"]), ("--steps", values["STEPS"])):
        line = next(line for line in lines if f"{option} " in line)
        assert f"[default: {value}]" in line


def test_help_of_a_forecast_does_not_speak_of_synthesis(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["forecast", "--help"]) == 0
    assert "synthes" not in capsys.readouterr().out


def test_an_interrupted_run_says_so_once(monkeypatch, capsys):
    monkeypatch.setattr(
        "lib.pipeline.__main__.run_pipeline", lambda *_, **__: fail(KeyboardInterrupt)
    )
    assert main(["train"]) == 130
    assert capsys.readouterr().err.count("interrupted") == 1


def test_options_may_be_written_as_parameters(capsys):
    assert main(["backtest", "EFFORT=instant", "DATA=none.csv", "OUT=judged"]) == 2
    assert "none.csv" in capsys.readouterr().err
