"""The schedule: how long a fit trains, and at what learning rate."""

from dataclasses import replace

import numpy as np
import pytest

from lib.models.config import ModelConfig
from lib.training import loop
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.schedule import Schedule
from lib.training.state import initial_state
from tests.networks import MODEL, TRAINING, weights_hash
from tests.panels import lively_panel, split_of


def test_schedule_warms_up_stays_and_decays_to_zero():
    schedule = Schedule.up_to(1000)
    shares = [schedule.share(step) for step in range(1000)]
    assert shares[0] < shares[25] < shares[50] == shares[799] == 1.0
    assert shares[800:] == sorted(shares[800:], reverse=True)
    assert 0 < shares[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40])
def test_shortest_schedules_have_a_positive_learning_rate_at_every_step(steps):
    schedule = Schedule.up_to(steps)
    assert schedule.last_step == steps
    assert all(0 < schedule.share(step) <= 1 for step in range(steps))


def test_decay_begins_once_and_never_lengthens_a_fit():
    schedule = Schedule.up_to(1000)
    schedule.begin_decay(400)
    schedule.begin_decay(450)
    assert (schedule.decay_start, schedule.last_step) == (400, 500)
    late = Schedule.up_to(1000)
    late.begin_decay(900)
    assert late.last_step == 1000


def test_fit_that_no_longer_improves_decays_for_a_quarter_of_its_steps(small_training):
    _, _, data, _ = small_training
    settings = replace(TRAINING, steps=1000, evaluate_every=2, patience=2, learning_rate=0.1)
    fit = loop.fit(data, MODEL, settings)
    losses = [entry["validation_loss"] for entry in fit.history]
    stale = next(
        i for i in range(2, len(losses)) if min(losses[i - 1 : i + 1]) >= min(losses[: i - 1])
    )
    start = int(fit.history[stale]["step"])
    assert fit.history[-1]["step"] == start + max(1, round(0.25 * start)) < 1000


def test_fit_interrupted_in_its_decay_resumes_exactly(small_training, tmp_path):
    _, _, data, _ = small_training
    settings = replace(TRAINING, steps=1000, evaluate_every=2, patience=2, learning_rate=0.1)
    whole = loop.fit(data, MODEL, settings)
    last = int(whole.history[-2]["step"])

    def interrupt(step, train_loss, validation_loss):
        if step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(data, MODEL, settings, checkpoint=tmp_path, on_evaluation=interrupt)
    resumed = loop.fit(data, MODEL, settings, checkpoint=tmp_path)
    assert resumed.history == whole.history
    assert weights_hash(resumed.model) == weights_hash(whole.model)


def test_default_patience_leaves_a_fit_time_to_improve():
    assert TrainingConfig().patience * TrainingConfig().evaluate_every >= 100


def distance_by_member(fit, start):
    """How far the weights of each member are from those that it started with."""
    return [
        sum(float((a - b).detach().square().sum()) for a, b in zip(*pair, strict=True)) ** 0.5
        for pair in (
            (one.parameters(), other.parameters())
            for one, other in zip(fit.members, start.members, strict=True)
        )
    ]


def test_short_series_is_pulled_towards_the_pretrained_weights_member_by_member():
    panel = lively_panel(days=300, series=1)
    unknown = np.full(len(panel.dates), np.nan)
    # with covariates the last member of a short fit is not trained at all
    panel = replace(panel, factor=unknown, event=unknown)
    shape = ModelConfig(horizon=7, members=3)
    data = prepare(panel, split_of(panel), shape)
    settings = replace(TRAINING, evaluate_every=20)
    start = initial_state(data, shape, settings).model
    pulled = distance_by_member(loop.fit(data, shape, settings).model, start)
    free = distance_by_member(
        loop.fit(data, shape, replace(settings, prior_windows=0.0)).model, start
    )
    assert pulled[0] > pulled[1] > pulled[2]
    assert pulled[2] < 0.5 * free[2]


@pytest.mark.parametrize("windows", [-1.0, float("nan"), float("inf")])
def test_prior_windows_below_zero_or_not_finite_are_refused(windows):
    with pytest.raises(ValueError, match="prior_windows: expected 0 or more"):
        TrainingConfig(prior_windows=windows)
