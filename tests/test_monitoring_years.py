"""The measurement behind the thresholds: silent in healthy years, quick after a change."""

import numpy as np
import pytest

from lib import backtest as bt
from lib import calibration, fitting, training
from lib.drift_profile import profile
from lib.export import save_artifact
from lib.live_accuracy import Promise
from lib.model import ModelConfig
from lib.monitoring import check_days
from lib.panel import split
from lib.settings import Settings
from tests.years import CHANGES, DAYS, LIVE, cut, feature_table, served, year

pytestmark = pytest.mark.slow

SERIES = 8
CHANGE = LIVE + 150
SETTINGS = Settings(_env_file=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network trained for a moment on other series of the same kind, and calibrated."""
    panel = cut(year(100, series=SERIES), LIVE)
    spans = split(panel, horizon=28, cutoffs=3, step=28, validation_days=90)
    config = ModelConfig(hidden=16, decoder_hidden=16)
    data = training.prepare(panel, spans, config)
    fit = fitting.fit(data, config, training.TrainingConfig(steps=150, evaluate_every=50))
    folder = tmp_path_factory.mktemp("model")
    return save_artifact(folder, calibration.calibrate(fit, data), data, panel, spans)


def reports(model, seed, change=""):
    """Daily checks of the live year, or of the days around a change."""
    past = cut(year(seed, series=SERIES), LIVE)
    ends = bt.cutoff_rows(past, horizon=28, cutoffs=6, step=28)
    result = bt.run(model, past, ends)
    promise = Promise.of(bt.metrics(result) | bt.by_name(bt.by_block(result)))
    panel = year(seed, change, CHANGE, series=SERIES)
    first, last = (CHANGE, CHANGE + 25) if change else (LIVE, DAYS - 1)
    frames = served(model, panel, np.arange(first - 50, last))
    return check_days(
        frames,
        profile(feature_table(past), SETTINGS.monitor_window_days),
        promise,
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
    assert found[first].verdict.urgent
