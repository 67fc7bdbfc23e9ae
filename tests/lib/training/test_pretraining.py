"""The pretrained network: what made it, and that a fit starts from it."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from lib.models import pretrained
from lib.models.config import ModelConfig
from lib.models.lstm import LSTMForecaster
from lib.training import pretraining, worlds
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.loop import fit
from lib.training.pretrained_artifact import pretrained_model
from lib.training.state import initial_state
from tests.panels import lively_panel, split_of

SMALL = replace(
    pretraining.TRAINING, steps=4, batch_size=8, evaluate_every=2, validation_windows=8, patience=9
)


def weights(model):
    return {k: v for k, v in model.state_dict().items() if pretrained.is_pretrained_weight(k)}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def panel():
    return lively_panel(days=300, series=1)


@pytest.mark.parametrize("members", [1, 3, 5])
@pytest.mark.parametrize("horizon", [1, 28])
def test_a_network_of_its_shape_takes_its_weights(members, horizon):
    config = ModelConfig(horizon=horizon, members=members, dropout=0.4)
    assert pretrained.has_pretrained(config)
    model = LSTMForecaster(config)
    pretrained.load_pretrained(model)
    expected = pretrained.load_file(pretrained.PRETRAINED_FOLDER / pretrained.WEIGHTS_FILE)
    for name, tensor in weights(model).items():
        parts = name.split(".")
        if parts[0] == "members":
            parts[1] = str(int(parts[1]) % 3)
        assert torch.equal(tensor, expected[".".join(parts)])
    assert torch.equal(model.spread, torch.ones(horizon, 7, dtype=torch.float64))


@pytest.mark.parametrize(
    "other", [{"hidden": 40}, {"cell": "gru"}, {"attention": True}, {"encoder_days": 28}]
)
def test_a_network_of_another_shape_starts_at_random(other, panel):
    assert not pretrained.has_pretrained(ModelConfig(**other))


def test_fit_starts_from_the_pretrained_network_unless_switched_off(panel):
    config = ModelConfig(horizon=7)
    data = prepare(panel, split_of(panel), config)
    expected = LSTMForecaster(config)
    pretrained.load_pretrained(expected)
    for pretrains in (True, False):
        settings = TrainingConfig(pretrained=pretrains)
        model = initial_state(data, config, settings).model
        assert same(weights(model), weights(expected)) is pretrains


def test_weights_that_are_not_the_cards_are_refused(tmp_path):
    card = (pretrained.PRETRAINED_FOLDER / pretrained.CARD_FILE).read_text()
    (tmp_path / pretrained.CARD_FILE).write_text(card)
    save_file({"filter": torch.zeros(2)}, tmp_path / pretrained.WEIGHTS_FILE)
    with pytest.raises(ValueError, match="not the weights that"):
        pretrained.load_pretrained(LSTMForecaster(ModelConfig()), tmp_path)


@pytest.mark.parametrize("folder", [pretrained.PRETRAINED_FOLDER, pretrained.ZERO_SHOT_FOLDER])
def test_the_card_says_what_made_the_weights(folder):
    card = json.loads((folder / pretrained.CARD_FILE).read_text())
    assert card["sha256"] == pretrained.pretrained_digest(folder)
    assert card["model"] == json.loads(json.dumps(pretraining.MODEL.to_dict()))
    assert card["worlds"] > 0
    assert card["minutes"] <= 60
    assert (folder / pretrained.WEIGHTS_FILE).stat().st_size < 3e6


def test_the_card_of_the_zero_shot_network_names_its_worlds():
    card = json.loads((pretrained.ZERO_SHOT_FOLDER / pretrained.CARD_FILE).read_text())
    assert card["generators"] == list(worlds.GENERATORS)
    assert card["windows"] == 128 * sum(card["steps"].values()) >= 10 * 3000 * 128
    assert card["device"] in ("cpu", "cuda")


def test_the_zero_shot_network_forecasts_untrained_and_fits_start_from_the_other():
    panel = lively_panel(days=300, series=1, covariates=False)
    config = ModelConfig(horizon=7, members=3)
    data = prepare(panel, split_of(panel), config)
    untrained = pretrained_model(config)
    start = initial_state(data, config, TrainingConfig()).model
    for model, folder in (
        (untrained, pretrained.ZERO_SHOT_FOLDER),
        (start, pretrained.PRETRAINED_FOLDER),
    ):
        expected = LSTMForecaster(config)
        pretrained.load_pretrained(expected, folder)
        assert same(weights(model), weights(expected))
    assert not same(weights(untrained), weights(start))


def test_a_short_fit_with_covariates_keeps_an_untrained_member(panel):
    config = ModelConfig(horizon=7, members=3)
    data = prepare(panel, split_of(panel), config)
    settings = TrainingConfig(steps=2, batch_size=8, evaluate_every=1, validation_windows=8)
    fitted = fit(data, config, settings).model
    untrained, start = LSTMForecaster(config), LSTMForecaster(config)
    pretrained.load_pretrained(untrained, pretrained.ZERO_SHOT_FOLDER)
    pretrained.load_pretrained(start)
    fitted, untrained, start = (
        [member.state_dict() for member in model.members] for model in (fitted, untrained, start)
    )
    assert same(fitted[2], untrained[2])
    assert not same(fitted[0], start[0])
    assert not same(fitted[1], start[1])


@pytest.mark.parametrize(("members", "days"), [(1, 300), (3, 700)])
def test_a_long_fit_or_one_member_trains_all(members, days):
    panel = lively_panel(days=days, series=1)
    config = ModelConfig(horizon=7, members=members)
    data = prepare(panel, split_of(panel), config)
    model = initial_state(data, config, TrainingConfig()).model
    expected = LSTMForecaster(config)
    pretrained.load_pretrained(expected)
    assert same(weights(model), weights(expected))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(pretraining, "VALIDATION_WORLDS", 2)
    return lambda folder, **kwargs: pretraining.pretrain(2, 9, folder, SMALL, **kwargs)


def test_pretraining_is_written_and_read_back_and_repeats(tmp_path, small):
    trunk, fitted = small(tmp_path / "one", branch_steps=4)
    pretraining.write_pretrained(fitted, tmp_path / "out", {"worlds": 2, "seed": 9})
    model = LSTMForecaster(ModelConfig(members=3))
    pretrained.load_pretrained(model, tmp_path / "out")
    _, again = small(tmp_path / "two", branch_steps=4)
    assert same(weights(model), weights(fitted.model))
    assert same(weights(again.model), weights(fitted.model))
    assert trunk.model.config.members == 1


def test_pretraining_goes_on_where_it_was_interrupted(tmp_path, small, monkeypatch):
    _, whole = small(tmp_path / "whole", branch_steps=4)

    def stop_at(step):
        def show(config, run=None):
            def on_evaluation(at, train_loss, validation_loss):
                if config.steps == 4 and at == step:
                    raise KeyboardInterrupt

            return on_evaluation

        return show

    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "progress_bar", stop_at(2))
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path / "cut", branch_steps=4)
    steps = []
    monkeypatch.setattr(
        pretraining, "progress_bar", lambda config: lambda step, *losses: steps.append(step)
    )
    _, resumed = small(tmp_path / "cut", branch_steps=4)
    assert steps == [4, 2, 4]  # the second half of the trunk, and the branches
    assert same(weights(resumed.model), weights(whole.model))


def test_a_longer_trunk_begins_with_the_steps_of_a_shorter_one(tmp_path, small):
    """So that a run may be ended at any evaluation, and repeated with that many steps."""
    short = small(tmp_path / "short", branch_steps=1)[0]
    settings = replace(SMALL, steps=8)
    long = pretraining.pretrain(2, 9, tmp_path / "long", settings, branch_steps=1)[0]
    assert long.history[: len(short.history)] == short.history


def test_members_start_from_the_trunk_and_part_ways(tmp_path, small):
    trunk, fitted = small(tmp_path, branch_steps=4)
    member = {name: value for name, value in weights(trunk.model).items() if name != "filter"}
    for number in range(3):
        distances = [
            float(
                (weights(fitted.model)[name.replace("members.0", f"members.{number}")] - value)
                .abs()
                .max()
            )
            for name, value in member.items()
        ]
        assert 0 < max(distances) < 0.1  # a few steps away
    one, other = (
        torch.cat(
            [v.ravel() for k, v in weights(fitted.model).items() if k.startswith(f"members.{n}.")]
        )
        for n in (0, 1)
    )
    assert not torch.equal(one, other)


def test_what_covariates_do_is_left_to_the_fit(tmp_path, small):
    _, fitted = small(tmp_path, branch_steps=4)
    assert not fitted.model.filter.any()


def test_devices_are_chosen_by_name(monkeypatch):
    for found, chosen in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert pretraining.choose_device("auto") == chosen
        assert pretraining.choose_device("cpu") == "cpu"
    assert pretraining.choose_device("cuda") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="DEVICE=cuda: torch finds no GPU"):
        pretraining.choose_device("cuda")
