"""The measurement behind the thresholds: silent in healthy years, quick after a change."""

import numpy as np
import pytest

from lib.data.splits import split_days
from lib.evaluation import backtest, scores
from lib.models.config import ModelConfig
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.drift_reference import build_reference
from lib.monitoring.report import check_days
from lib.settings import Settings
from lib.training import calibration, loop
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.export import save_artifact
from tests.years import CHANGES, DAYS, LIVE, cut, feature_table, served, year

pytestmark = pytest.mark.slow

SERIES = 8
CHANGE = LIVE + 150
SETTINGS = Settings(_env_file=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network trained for a moment on other series of the same kind, and calibrated."""
    panel = cut(year(100, series=SERIES), LIVE)
    split = split_days(panel, horizon=28, cutoffs=3, step=28, validation_days=90)
    config = ModelConfig(hidden=16, decoder_hidden=16)
    data = prepare(panel, split, config)
    fit = loop.fit(data, config, TrainingConfig(steps=150, evaluate_every=50))
    folder = tmp_path_factory.mktemp("model")
    return save_artifact(folder, calibration.calibrate(fit, data), data, panel, split)


def reports(model, seed, change=""):
    """Daily checks of the live year, or of the days around a change."""
    past = cut(year(seed, series=SERIES), LIVE)
    origins = backtest.origin_rows(past, horizon=28, cutoffs=6, step=28)
    result = backtest.run_backtest(model, past, origins)
    expected = ExpectedError.of(
        scores.compute_metrics(result) | scores.flatten_metrics(scores.metrics_by_block(result))
    )
    panel = year(seed, change, CHANGE, series=SERIES)
    first, last = (CHANGE, CHANGE + 25) if change else (LIVE, DAYS - 1)
    frames = served(model, panel, np.arange(first - 50, last))
    return check_days(
        frames,
        build_reference(feature_table(past), SETTINGS.monitor_window_days),
        expected,
        days=panel.dates[first:last],
        trained=panel.dates[LIVE - 1],
        settings=SETTINGS,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_checks_of_a_healthy_year_raise_at_most_one_false_alarm(model, seed):
    up = [bool(report.alarms) for report in reports(model, seed)]
    incidents = sum(now and not before for before, now in zip([False, *up], up, strict=False))
    assert incidents <= 1


@pytest.mark.parametrize("change", CHANGES)
def test_checks_find_a_change_within_three_weeks(model, change):
    found = reports(model, 0, change)
    first = next((i for i, report in enumerate(found) if report.alarms), None)
    assert first is not None
    assert first <= 21
    assert found[first].recommendation.urgent
