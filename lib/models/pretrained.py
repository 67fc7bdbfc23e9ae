"""The network that comes with the project, from which a fit starts. `lib.training.pretraining` makes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from lib.models.config import ModelConfig
from lib.models.lstm import LSTMForecaster

FOLDER = Path(__file__).with_name("pretrained_network")
WEIGHTS, CARD = "weights.safetensors", "card.json"
# What weights depend on. Horizon, contexts, dropout and the number of members may differ.
SHAPE = (
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


def is_for(config: ModelConfig, folder: Path = FOLDER) -> bool:
    """Whether a network of these settings has the shape of the one that is there."""
    path = folder / CARD
    if not path.is_file():
        return False
    there: dict[str, Any] = json.loads(path.read_text())["model"]
    asked = json.loads(json.dumps(config.to_dict()))
    return all(there[name] == asked[name] for name in SHAPE)


def start(model: LSTMForecaster, folder: Path = FOLDER) -> None:
    """Give a network of the same shape the weights that are there; members beyond them go round.

    What is learned from a training span and not by gradient (units, floor, widths) stays.
    Raises ValueError for weights that are not those of the card.
    """
    path = folder / WEIGHTS
    if digest(folder) != json.loads((folder / CARD).read_text())["sha256"]:
        raise ValueError(f"{path.name}: not the weights that {CARD} describes; `git checkout` them")
    there = load_file(path)
    count = 1 + max(int(name.split(".")[1]) for name in there if name.startswith("members."))
    state = model.state_dict()
    for name in [n for n in state if n.startswith("members.") or n == "filter"]:
        parts = name.split(".")
        if parts[0] == "members":
            parts[1] = str(int(parts[1]) % count)
        state[name] = there[".".join(parts)]
    model.load_state_dict(state)


def digest(folder: Path = FOLDER) -> str:
    """SHA-256 of the weights, empty where there are none."""
    path = folder / WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
