"""The pretrained network: what made it, and that a fit starts from it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib.models import pretrained
from lib.models.config import ModelConfig
from lib.models.lstm import LSTMForecaster
from lib.training import pretraining, synthetic_worlds
from lib.training.config import TrainingConfig
from lib.training.data import prepare
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


def test_worlds_are_drawn_from_their_seed_alone():
    one, again = synthetic_worlds.draw_world(5), synthetic_worlds.draw_world(5)
    np.testing.assert_array_equal(one.values, again.values)
    several = synthetic_worlds.draw_worlds(3, 4)
    assert several.n_series == 3 * synthetic_worlds.SERIES_PER_WORLD
    np.testing.assert_array_equal(several.values[several.series(6).start :][:100], one.values[:100])


def test_worlds_are_no_series_without_a_scale():
    for seed in range(12):
        world = synthetic_worlds.draw_world(seed)
        assert np.nanmin(world.values) >= 0
        assert np.isfinite(world.values).mean() > 0.6
        assert np.nanmax(world.values) < 1e9


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


def test_the_card_says_what_made_the_weights():
    card = json.loads((pretrained.PRETRAINED_FOLDER / pretrained.CARD_FILE).read_text())
    assert card["sha256"] == pretrained.pretrained_digest()
    assert card["model"] == json.loads(json.dumps(pretraining.MODEL.to_dict()))
    assert card["worlds"] > 0
    assert card["minutes"] <= 60
    assert (pretrained.PRETRAINED_FOLDER / pretrained.WEIGHTS_FILE).stat().st_size < 3e6


def test_pretraining_is_written_and_read_back_and_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "VALIDATION_WORLDS", 1)
    fitted = pretraining.pretrain(2, 9, SMALL)
    pretraining.write_pretrained(fitted, tmp_path, {"worlds": 2, "seed": 9})
    model = LSTMForecaster(ModelConfig(members=3))
    pretrained.load_pretrained(model, tmp_path)
    again = pretraining.pretrain(2, 9, SMALL)
    assert same(weights(model), weights(fitted.model))
    assert same(weights(again.model), weights(fitted.model))
