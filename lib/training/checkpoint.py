"""Save the state of a fit to a file, and resume from it exactly."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lib.calibration import PreparedData
from lib.data import fingerprint
from lib.models import ModelConfig
from lib.training.config import TrainingConfig
from lib.training.provenance import code_hash
from lib.training.schedule import Schedule
from lib.training.state import TrainingState

log = structlog.get_logger()
PROGRESS = ("step", "stale", "best_loss", "best_step", "history")


class Checkpoint:
    """The checkpoint file of one fit; a file of any other fit is ignored."""

    def __init__(
        self, folder: Path, data: PreparedData, model: ModelConfig, training: TrainingConfig
    ) -> None:
        """Name the file `checkpoint.safetensors` in `folder`, which need not exist."""
        self.path = folder / "checkpoint.safetensors"
        self.settings = _identify_fit(data, model, training)

    def save(self, state: TrainingState) -> None:
        """Write the state, whole or not at all."""
        tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in state.best.items()}
        for i, moments in state.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
        tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        facts = {name: getattr(state, name) for name in PROGRESS}
        facts |= {"schedule": asdict(state.schedule), "settings": self.settings}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        save_file(tensors, part, metadata={"facts": json.dumps(facts)})
        part.replace(self.path)

    def resume(self, state: TrainingState) -> None:
        """Load the saved state into `state`, if there is one of the same fit."""
        if not self.path.exists():
            return
        with safe_open(self.path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        if facts.pop("settings") != self.settings:
            log.info("checkpoint of other settings ignored", folder=self.path.parent.name)
            return
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "best": {}}
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(self.path).items():
            group, name = key.split(".", 1)
            if group == "optimizer":
                number, name = name.split(".", 1)
                moments.setdefault(int(number), {})[name] = tensor
            else:
                groups[group][name] = tensor
        state.model.load_state_dict(groups["model"])
        state.average.load_state_dict(groups["average"])
        state.best = groups["best"]
        state.optimizer.load_state_dict(state.optimizer.state_dict() | {"state": moments})
        for name in PROGRESS:
            setattr(state, name, facts[name])
        state.schedule = Schedule(**facts["schedule"])
        log.info("training resumed", step=state.step)


def _identify_fit(
    data: PreparedData, model: ModelConfig, training: TrainingConfig
) -> dict[str, Any]:
    """Return all that the steps of a fit depend on, as JSON gives it back."""
    train, validation = data.train.origins, data.validation.origins
    windows = [len(train), int(train.sum()), len(validation), int(validation.sum())]
    facts = {"windows": windows, "data": fingerprint(data.train.panel), "code": code_hash()}
    return json.loads(json.dumps(model.to_dict() | training.to_dict() | facts))
