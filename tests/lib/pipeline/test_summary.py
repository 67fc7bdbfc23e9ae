"""The end of a run in words: scores, verdict, report, next steps."""

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from lib.pipeline.__main__ import main
from lib.pipeline.summary import describe_verdict, show_summary, summarize_backtest, summarize_run

SCORES = {
    "ours": {"mase": 0.7, "wape": 9.0, "wql": 7.0, "coverage_80": 79.0, "mae": 3.0},
    "naive": {"mase": 1.2, "wape": 15.0},
    "weekday_median": {"mase": 0.9, "wape": 11.0, "wql": None, "coverage_80": None},
}


@pytest.fixture
def run(tmp_path):
    write(tmp_path, "scores.json", SCORES)
    values = {
        "DATA": "/data/my shops.csv",
        "DATE_COLUMN": "day",
        "VALUE_COLUMN": "value",
        "SERIES_COLUMN": "",
        "COUNTRY": "BR",
        "DECIMAL": ",",
    }
    write(tmp_path, "parameters.json", {"profile": "ci", "stages": {"01_synthesis": values}})
    outcome = {"version": 3, "promoted": True, "reason": "mase 0.7 beats seasonal naive, 1"}
    write(tmp_path, "mlflow.json", outcome)
    return tmp_path


def write(folder, name, value):
    (folder / name).write_text(json.dumps(value))


def printed(summary):
    output = io.StringIO()
    show_summary(summary, Console(file=output, width=100, color_system=None))
    return output.getvalue()


def test_summary_of_a_training_has_scores_verdict_report_and_next_steps(run):
    text = printed(summarize_run(run))
    ours = next(line for line in text.splitlines() if line.strip().startswith("ours"))
    assert ours.split()[-4:] == ["0.700", "9.00", "7.00", "79.0"]
    median = next(line for line in text.splitlines() if line.strip().startswith("median of 8"))
    assert median.split()[-4:] == ["0.900", "11.0", "–", "–"]
    assert "Better than the best simple forecast: MASE 0.7, median of 8 same weekdays 0.9." in text
    assert "Version 3 is now in production: MASE 0.7 beats seasonal naive, 1." in text
    assert f"Report: {run}/html/03_training.html" in text
    command = "make forecast 'DATA=/data/my shops.csv' DATE_COLUMN=day COUNTRY=BR OUT=next.csv"
    assert command in text
    assert "make run-api" in text
    assert "http://127.0.0.1:8000" in text


def test_summary_has_the_verdict_that_the_training_wrote(run):
    write(run, "verdict.json", {"better": False, "reason": "last week's values are as good here"})
    verdict = summarize_run(run).verdict
    assert verdict.startswith("Not better than the best simple forecast: last week's values are")


def test_summary_of_synthetic_series_forecasts_those_of_the_run(run):
    write(run, "parameters.json", {"stages": {"01_synthesis": {"DATA": ""}}})
    assert f"make forecast DATA={run}/series.parquet OUT=next.csv" in printed(summarize_run(run))


def test_summary_says_where_nothing_was_registered_or_promoted(run):
    write(run, "mlflow.json", {"version": 3, "promoted": False, "reason": "is worse"})
    assert summarize_run(run).decision == "Version 3 was not promoted: is worse."
    (run / "mlflow.json").unlink()
    assert summarize_run(run).decision == "Nothing was registered."


def test_summary_of_a_backtest_is_read_from_its_results(tmp_path):
    write(tmp_path, "metrics.json", dict(reversed(SCORES.items())))
    write(tmp_path, "verdict.json", {"better": True, "reason": "mase 0.7 beats x; wql 7 beats y"})
    parameters = {"DATA": "/data/shops.csv", "VALUE_COLUMN": "units", "COVARIATES": True}
    text = printed(summarize_backtest(tmp_path, parameters))
    assert text.index("ours") < text.index("yesterday's value") < text.index("median of 8")
    assert f"Report: {tmp_path}/report.html" in text
    assert "make train DATA=/data/shops.csv VALUE_COLUMN=units" in text
    assert "Better than the best simple forecast: MASE 0.7 beats x; WQL 7 beats y." in text


def test_verdict_names_the_simple_forecast_that_is_better():
    scores = {
        "ours": {"mase": 0.8, "wql": 9.0},
        "seasonal_naive": {"mase": 0.75, "wql": 12.0},
        "mean_7": {"mase": 0.9, "wql": 11.0},
    }
    assert describe_verdict(scores) == (
        "Not better than the best simple forecast: MASE 0.8, last week's values (seasonal naive) "
        "0.75; WQL 9, mean of the last week 11."
    )


def test_verdict_without_a_mase_is_none():
    scores = {"ours": {"mase": None}, "naive": {"mase": float("nan")}}
    assert describe_verdict(scores).startswith("No verdict")


def test_verdict_shows_both_metrics_where_only_one_decides(run):
    judged = {
        "better": False,
        "reason": "wql 16.7 does not beat the mean of the last week, 16.5",
        "score_mase": 1.4286,
        "best_baseline_mase": "mean_7",
        "best_baseline_score_mase": 1.5086,
        "score_wql": 16.7,
        "best_baseline_wql": "mean_7",
        "best_baseline_score_wql": 16.5,
    }
    write(run, "verdict.json", judged)
    assert summarize_run(run).verdict == (
        "Not better than the best simple forecast: WQL 16.7 does not beat the mean of the last "
        "week, 16.5; MASE 1.429 beats mean of the last week, 1.509."
    )


def test_decision_does_not_repeat_the_verdict(run):
    reason = "mase 0.7 beats repeating last week, 0.9"
    write(run, "verdict.json", {"better": True, "reason": reason})
    outcome = {"version": 3, "promoted": True, "reason": f"{reason}; no production version yet"}
    write(run, "mlflow.json", outcome)
    assert summarize_run(run).decision == (
        "Version 3 is now in production: it beats the simple forecasts; no production version yet."
    )


def test_gain_within_noise_is_called_a_gain_that_may_be_chance(run):
    reason = (
        "mase 0.7 beats repeating last week, 0.72 (difference -0.02 ± 0.1, a gain within noise)"
    )
    write(run, "verdict.json", {"better": True, "reason": reason})
    assert "though by so little that it may be chance" in summarize_run(run).verdict
    write(run, "verdict.json", {"better": False, "reason": reason.replace("gain", "loss")})
    assert "chance" not in summarize_run(run).verdict


def test_next_steps_name_the_model_where_it_is_not_the_usual_one(run, monkeypatch):
    monkeypatch.setenv("REGISTERED_MODEL_NAME", "my sales")
    steps = list(summarize_run(run).next_steps)
    assert steps[1] == "make run-api 'REGISTERED_MODEL_NAME=my sales'"
    assert steps[0].endswith("OUT=next.csv 'REGISTERED_MODEL_NAME=my sales'")


def test_a_program_that_reads_stdout_gets_the_summary_as_one_json_line(run, monkeypatch, capsys):
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setattr(
        "lib.pipeline.__main__.run_pipeline", lambda *_, **__: SimpleNamespace(folder=run)
    )
    assert main(["train"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    written = json.loads(line)
    assert list(written)[:3] == ["verdict", "decision", "report"]
    assert written["scores"]["ours"]["mase"] == pytest.approx(SCORES["ours"]["mase"], rel=1e-3)
    numbers = [v for each in written["scores"].values() for v in each.values() if v is not None]
    assert all(value == float(f"{value:.4g}") for value in numbers)
    assert written["decision"].startswith("Version 3 is now in production")
    assert written["report"] == str(run / "html" / "03_training.html")
