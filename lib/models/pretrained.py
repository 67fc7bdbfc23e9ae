"""The pretrained networks: the one that fits start from, and the one that forecasts untrained.

They have one shape. The best network to forecast with as it is turned out not to be the best one
to start a fit from. Where covariates have effects, one member of a fit stays near it (`state`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors.torch import load_file

from lib.models.config import ModelConfig
from lib.models.lstm import LSTMForecaster

PRETRAINED_FOLDER = Path(__file__).with_name("pretrained_network")  # a fit starts from
ZERO_SHOT_FOLDER = Path(__file__).with_name("zero_shot_network")  # forecasts without training
WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "card.json"
# What weights depend on. Horizon, contexts, dropout and the number of members may differ.
SHAPE_SETTINGS = (
    "quantiles",
    "encoder_days",
    "cell",
    "hidden",
    "layers",
    "bidirectional",
    "attention",
    "layer_norm",
    "decoder_hidden",
)


def has_pretrained(config: ModelConfig, folder: Path = PRETRAINED_FOLDER) -> bool:
    """Tell whether the pretrained weights fit a network of these settings.

    Examples:
        >>> has_pretrained(ModelConfig(horizon=14)), has_pretrained(ModelConfig(hidden=40))
        (True, False)
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return False
    pretrained = ModelConfig.from_dict(json.loads(path.read_text())["model"])
    return all(getattr(pretrained, name) == getattr(config, name) for name in SHAPE_SETTINGS)


def load_pretrained(
    model: LSTMForecaster, folder: Path = PRETRAINED_FOLDER, *, member: int | None = None
) -> None:
    """Give a network of the same shape the pretrained weights, in place.

    Members beyond the pretrained ones repeat them. What is learned from the training data without
    gradient (units of the factor, floor, spread) stays.

    Args:
        model: the network.
        folder: of the weights.
        member: number of the only member that takes them (default: all do, and the filter).

    Raises:
        ValueError: the weights are not those that the card describes.
    """
    path = folder / WEIGHTS_FILE
    if pretrained_digest(folder) != json.loads((folder / CARD_FILE).read_text())["sha256"]:
        raise ValueError(
            f"{path.name}: not the weights that {CARD_FILE} describes; `git checkout` them"
        )
    weights = load_file(path)
    count = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("members."))
    state = model.state_dict()
    prefix = "" if member is None else f"members.{member}."
    for name in filter(is_pretrained_weight, state):
        if not name.startswith(prefix):
            continue
        parts = name.split(".")
        if parts[0] == "members":
            parts[1] = str(int(parts[1]) % count)
        state[name] = weights[".".join(parts)]
    model.load_state_dict(state)


def is_pretrained_weight(name: str) -> bool:
    """Tell whether an entry of the state dict is learned by gradient, so worth pretraining."""
    return name.startswith("members.") or name == "filter"


def pretrained_digest(folder: Path = PRETRAINED_FOLDER) -> str:
    """Return the SHA-256 of the pretrained weights in hex, empty where there are none."""
    path = folder / WEIGHTS_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
