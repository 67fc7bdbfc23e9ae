"""The fit: repeatable, resumable, and an error where a loss is not finite."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lib.models.config import ModelConfig
from lib.progress import open_progress, read_progress
from lib.training import calibration, checkpoint, loop, loss
from lib.training.config import TrainingConfig, TrainingError
from lib.training.data import batch_of, prepare
from lib.training.plots import plot_loss
from tests.networks import MODEL, TRAINING, members, weights_hash
from tests.panels import TINY_MODEL, lively_panel, split_of


def test_fit_repeats_to_the_bit_even_after_another_fit(small_training):
    _, _, data, fit = small_training
    loop.fit(data, MODEL, replace(TRAINING, seed=5, steps=5))
    again = calibration.calibrate(loop.fit(data, MODEL, TRAINING), data)
    assert weights_hash(again.model) == weights_hash(fit.model)
    assert again.history == fit.history


def test_another_seed_is_another_fit(small_training):
    _, _, data, fit = small_training
    other = loop.fit(data, MODEL, replace(TRAINING, seed=1))
    assert weights_hash(other.model) != weights_hash(fit.model)


def test_level_shifts_make_another_fit_that_repeats(small_training):
    _, _, data, fit = small_training
    shifting = replace(TRAINING, level_shift_prob=0.5)
    once, again = (loop.fit(data, MODEL, shifting) for _ in range(2))
    assert weights_hash(once.model) == weights_hash(again.model) != weights_hash(fit.model)


def test_interrupted_fit_resumes_exactly(small_training, tmp_path):
    _, _, data, _ = small_training
    whole = loop.fit(data, MODEL, TRAINING)

    def interrupt(step, train_loss, validation_loss):
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(data, MODEL, TRAINING, checkpoint=tmp_path, on_evaluation=interrupt)
    steps = []
    resumed = loop.fit(
        data,
        MODEL,
        TRAINING,
        checkpoint=tmp_path,
        on_evaluation=lambda step, *_: steps.append(step),
    )
    assert steps == [15, 20]
    assert weights_hash(resumed.model) == weights_hash(whole.model)
    assert resumed.history == whole.history


def test_checkpoint_of_other_settings_is_left_alone(small_training, tmp_path):
    _, _, data, _ = small_training
    loop.fit(data, MODEL, replace(TRAINING, seed=3), checkpoint=tmp_path)
    fresh = loop.fit(data, MODEL, TRAINING, checkpoint=tmp_path)
    assert weights_hash(fresh.model) == weights_hash(loop.fit(data, MODEL, TRAINING).model)


def test_checkpoint_of_other_code_is_left_alone(small_training, tmp_path, monkeypatch):
    _, _, data, _ = small_training
    loop.fit(data, MODEL, TRAINING, checkpoint=tmp_path)
    monkeypatch.setattr(checkpoint, "code_hash", lambda: "other")
    steps = []
    loop.fit(
        data,
        MODEL,
        TRAINING,
        checkpoint=tmp_path,
        on_evaluation=lambda step, *_: steps.append(step),
    )
    assert steps  # trained anew, not taken as finished


def test_window_without_a_unit_weighs_nothing():
    median, offsets = torch.zeros(2, 3), torch.zeros(2, 3, 1)
    targets = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    levels = torch.tensor([0.5])
    alone = loss.pinball_loss(median[:1], offsets[:1], torch.ones(1), targets[:1], levels)
    scale = torch.tensor([1.0, 1e-8])
    assert loss.pinball_loss(median, offsets, scale, targets, levels) == alone


def test_loss_falls_and_the_best_weights_are_kept(small_training):
    _, _, data, _ = small_training
    config = replace(TRAINING, steps=60, learning_rate=0.003)
    fit = loop.fit(data, MODEL, config)
    losses = [entry["validation_loss"] for entry in fit.history]
    assert fit.validation_loss == min(losses) < losses[0]
    assert fit.best_step == fit.history[int(np.argmin(losses))]["step"]


def test_initial_loss_is_that_of_the_weights_before_the_first_step(small_training):
    _, _, data, fit = small_training
    start = loop.initial_loss(data, MODEL, TRAINING)
    barely = replace(TRAINING, steps=1, evaluate_every=1, learning_rate=1e-12)
    assert start == pytest.approx(loop.fit(data, MODEL, barely).validation_loss)
    figure = plot_loss(fit.history, fit.best_step, start)
    axis = figure.axes[0]
    steps, losses = (np.asarray(data) for data in axis.lines[1].get_data())
    assert (steps[0], losses[0]) == (0, start)
    plt.close(figure)


def test_progress_of_a_fit_reaches_who_watches_the_run(small_training, tmp_path):
    _, _, data, fit = small_training
    open_progress(tmp_path)
    loop.fit(data, MODEL, TRAINING, on_evaluation=loop.progress_bar(TRAINING, tmp_path))
    progress = read_progress(tmp_path)
    assert progress is not None
    assert (progress.unit, progress.total) == ("batches", TRAINING.steps)
    assert progress.done == fit.history[-1]["step"]
    assert progress.loss == fit.validation_loss


def test_training_stops_when_validation_no_longer_improves(small_training):
    _, _, data, _ = small_training
    settings = replace(TRAINING, steps=1000, evaluate_every=2, patience=2, learning_rate=0.1)
    fit = loop.fit(data, MODEL, settings)
    assert fit.best_step < fit.history[-1]["step"] < 1000


def test_infinite_value_stops_training_and_names_the_windows():
    panel = lively_panel(series=1)
    broken = panel.values.copy()
    broken[100] = np.inf
    panel = replace(panel, values=broken)
    data = prepare(panel, split_of(panel), MODEL)
    with pytest.raises(
        TrainingError, match=r"not finite at step \d+: batch of 16 windows.*s0 at 20"
    ):
        loop.fit(data, MODEL, TRAINING)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_share_outside_of_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="level_shift_prob: expected a share of 0 to 1"):
        TrainingConfig(level_shift_prob=share)


def test_span_without_windows_says_what_to_change():
    panel = lively_panel(days=200)
    split = split_of(panel)
    early = replace(split, train_end=panel.dates[20])
    with pytest.raises(TrainingError, match=r"no training window.*shorter HORIZON"):
        prepare(panel, early, MODEL)


@pytest.mark.parametrize("kind", [ModelConfig, TrainingConfig])
def test_unknown_setting_is_an_error_and_settings_survive_json(kind):
    with pytest.raises(ValueError, match=r"unknown \['hiden'\]"):
        kind.from_dict({"hiden": 3})
    assert kind.from_dict(kind().to_dict()) == kind()


def test_training_settings_are_read_under_their_former_names():
    saved = {"batch": 8, "changes": 0.2, "clip": 0.5, "ema": 0.9, "withhold": 0.3}
    config = TrainingConfig.from_dict(saved)
    assert (config.batch_size, config.clip_norm, config.ema_decay) == (8, 0.5, 0.9)
    assert (config.level_shift_prob, config.covariate_dropout) == (0.2, 0.3)
    contract = json.loads((TINY_MODEL / "contract.json").read_text())
    assert TrainingConfig.from_dict(contract["settings"]["training"]).batch_size == 8


def test_pinball_equals_the_plain_loop_and_skips_missing_targets():
    rng = np.random.default_rng(0)
    median, scale = torch.tensor(rng.normal(size=(3, 4))), torch.tensor(rng.uniform(1, 2, 3))
    offsets = torch.tensor(np.sort(rng.normal(size=(3, 4, 3)), axis=-1))
    targets = torch.tensor(rng.normal(size=(3, 4)))
    targets[1, 2] = torch.nan
    levels = torch.tensor([0.1, 0.5, 0.9])
    losses = []
    for b in range(3):
        for h in range(4):
            if torch.isnan(targets[b, h]):
                continue
            for q, level in enumerate(levels.tolist()):
                gap = float((targets[b, h] - median[b, h]) / scale[b] - offsets[b, h, q])
                losses.append(level * gap if gap > 0 else (level - 1) * gap)
    found = loss.pinball_loss(median, offsets, scale, targets, levels)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_calibration_brings_coverage_to_the_level_on_the_validation_span():
    panel = lively_panel(days=1220)
    # two years: of less, the usual widths count for more than what was found
    split = replace(split_of(panel), train_end=split_of(panel).validation_end - 700)
    data = prepare(panel, split, MODEL)
    fit = loop.fit(data, MODEL, TRAINING)
    members(fit.model)[0].head.bias.data[-6:] -= 1.5  # far too narrow
    context, future, targets = batch_of(
        data.validation, np.arange(len(data.validation.origins)), MODEL.max_context
    )

    def coverage():
        with torch.no_grad():
            q = fit.model(context, future)
        seen = torch.isfinite(targets)
        return float(((targets >= q[..., 1]) & (targets <= q[..., -2]))[seen].double().mean())

    before = coverage()
    calibration.calibrate(fit, data)
    assert before < 0.6
    assert abs(coverage() - 0.8) < abs(before - 0.8) / 2
