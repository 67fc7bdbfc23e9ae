"""Training on intermittent series that a simple forecast knows best: it is said, not promoted."""

import json

import pandas as pd
import pytest

from lib.pipeline.run import run_pipeline
from lib.pipeline.summary import summarize_run
from lib.registry import Registry
from lib.settings import Settings
from tests.make_intermittent import make_intermittent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]


def test_intermittent_series_are_three_quarters_zeros_and_the_same_for_a_seed():
    table = make_intermittent()
    assert 0.7 < (table["value"] == 0).mean() < 0.8
    assert table["value"].max() > 3
    pd.testing.assert_frame_equal(table, make_intermittent())


def test_training_on_intermittent_series_says_that_a_simple_forecast_is_better(tmp_path):
    make_intermittent().to_csv(tmp_path / "parts.csv", index=False)
    settings = Settings(
        var_dir=tmp_path / "var", mlflow_artifact_root=str(tmp_path / "var" / "artifacts")
    )
    parameters = {"DATA": "parts.csv", "WORKERS": "1"}
    run = run_pipeline(
        "ci", parameters, until="03_training", settings=settings, bases=[tmp_path]
    ).folder
    judged = json.loads((run / "verdict.json").read_text())
    assert judged["better"] is False
    assert "does not beat the median of the same weekdays" in judged["reason"]
    summary = summarize_run(run)
    assert summary.verdict.startswith("Not better than the best simple forecast: ")
    assert summary.decision == "Version 1 was not promoted: it does not beat them."
    assert Registry(settings).version_of("production") is None
    forecasts = pd.read_parquet(run / "forecasts.parquet")
    assert (forecasts["q0.5"] >= 0).all()
