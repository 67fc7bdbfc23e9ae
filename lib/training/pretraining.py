"""Pretrain the network that forecasts untrained: `python -m lib.training.pretraining --help`.

It learns what daily series have in common from synthetic worlds alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lib import features as ft
from lib import models
from lib.calibration import PreparedData
from lib.data import Panel
from lib.log import configure_logging
from lib.models import ModelConfig
from lib.settings import ROOT
from lib.training import worlds
from lib.training.config import TrainingConfig
from lib.training.data import Batch
from lib.training.loop import Fit, fit, progress_bar
from lib.training.provenance import code_hash
from lib.training.schedule import Schedule
from lib.training.state import TrainingState

HORIZONS = (7, 14, 28, 28, 56)  # days; each batch is cut to one of them
VALIDATION_WORLDS = 63  # the same number of each generator
MIN_HISTORY, MIN_VALIDATION_HISTORY = 28, 60  # days before an origin
VALIDATION_SEED = 10**6  # after the seeds of the training worlds
WARM_UP = 50  # steps
TRUNK = "trunk"  # folder of its weights
MODEL = ModelConfig(horizon=max(HORIZONS), members=3, dropout=0.1)
TRAINING = TrainingConfig(
    steps=27_000,
    batch_size=128,
    learning_rate=3e-3,
    evaluate_every=500,
    patience=1000,
    ema_decay=0.995,
    validation_windows=1024,
    level_shift_prob=0.0,  # the worlds have level shifts already
    pretrained=False,
)
BRANCH_STEPS = 4000


def pretrain(
    n_worlds: int,
    seed: int,
    folder: Path,
    training: TrainingConfig = TRAINING,
    *,
    branch_steps: int = BRANCH_STEPS,
    generators: Sequence[str] = tuple(worlds.GENERATORS),
    device: str = "cpu",
) -> tuple[Fit, Fit]:
    """Fit MODEL to synthetic worlds.

    One member, the trunk, is trained first, at a constant learning rate. All members start from
    it and part ways by dropout; their learning rate is constant at first, then falls to zero.
    That costs half of what it costs to train each of three from the beginning. Of the trunk the
    weights are kept that are best on other worlds, of the members the average at the end: once
    the learning rate has fallen, evaluations differ by less than what a few extreme windows of
    them weigh.

    Args:
        n_worlds: number of worlds to train on.
        seed: of the worlds and of the fit.
        folder: for checkpoints, to resume from, and the weights of the trunk.
        training: settings of the trunk, apart from its seed.
        branch_steps: steps of all members together.
        generators: names of those to train on, in equal shares. The other worlds are of all.
        device: of torch.

    Returns:
        The trunk and the fit of all members.
    """
    data = prepare_worlds(n_worlds, seed, generators)
    settings = replace(training, seed=seed)
    schedule = Schedule(WARM_UP, settings.steps - 1, settings.steps)

    def begin_trunk(state: TrainingState) -> None:
        begin(state, schedule, device)

    trunk = _fit(data, replace(MODEL, members=1), settings, folder, begin_trunk)
    write_pretrained(trunk, folder / TRUNK, {})
    # another seed, or it would see the first batches of the trunk again
    settings = replace(settings, seed=seed + 1, steps=branch_steps)

    states = []

    def begin_branches(state: TrainingState) -> None:
        states.append(state)
        for network in (state.model, state.average):
            models.load_pretrained(network, folder / TRUNK)
        begin(state, Schedule(WARM_UP, branch_steps // 2, branch_steps), device)

    checkpoint = folder / models.pretrained_digest(folder / TRUNK)[:16]
    fitted = _fit(data, MODEL, settings, checkpoint, begin_branches)
    last = fitted.history[-1]
    return trunk, replace(
        fitted,
        model=states[0].average.cpu().eval(),
        validation_loss=last["validation_loss"],
        best_step=int(last["step"]),
    )


def _fit(
    data: PreparedData,
    config: ModelConfig,
    settings: TrainingConfig,
    checkpoint: Path,
    begin: Callable[[TrainingState], None],
) -> Fit:
    return fit(
        data,
        config,
        settings,
        checkpoint=checkpoint,
        on_evaluation=progress_bar(settings),
        transform=cut_horizon,
        prepare_state=begin,
    )


def begin(state: TrainingState, schedule: Schedule, device: str) -> None:
    """Set schedule and device, and freeze the filter of covariates.

    What a covariate does is particular to the data, and is taken off before the network by
    closed-form effects. Without a gradient of the filter there is none through the window
    statistics either.
    """
    state.schedule = schedule
    for network in (state.model, state.average):
        network.filter.requires_grad_(False)
        network.to(device)


def choose_device(name: str) -> str:
    """Return the device of a name: "auto" is a GPU where there is one.

    Raises:
        ValueError: a GPU was asked for, and there is none.

    Examples:
        >>> choose_device("cpu")
        'cpu'
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ValueError("DEVICE=cuda: torch finds no GPU; give DEVICE=cpu, or auto")
    return "cuda" if found and name != "cpu" else "cpu"


def prepare_worlds(
    n_worlds: int, seed: int, generators: Sequence[str] = tuple(worlds.GENERATORS)
) -> PreparedData:
    """Draw the worlds to train on and others to stop by, and index their windows."""
    panel = worlds.draw_worlds(n_worlds, seed, generators)
    held_out = worlds.draw_worlds(VALIDATION_WORLDS, seed + VALIDATION_SEED)
    known = panel.factor[np.isfinite(panel.factor)]
    return PreparedData(
        train=_index_windows(panel, MIN_HISTORY),
        validation=_index_windows(held_out, MIN_VALIDATION_HISTORY),
        factor_mean=float(known.mean()) if len(known) else 0.0,
        factor_std=float(known.std()) if len(known) else 1.0,
        nonnegative=False,
    )


def cut_horizon(batch: Batch) -> Batch:
    """Cut a batch to a horizon drawn from HORIZONS by torch's generator.

    A fit seeds that generator at every step, so that a resumed fit draws the same.
    """
    days = HORIZONS[int(torch.randint(len(HORIZONS), ()))]
    return Batch(batch.context, batch.future[:, :days], batch.targets[:, :days])


def write_pretrained(fitted: Fit, folder: Path, facts: dict[str, object]) -> None:
    """Write weights and the card that describes them, over those in `folder`.

    Args:
        fitted: by `pretrain`.
        folder: created if need be.
        facts: further entries of the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.contiguous()
        for name, tensor in fitted.model.state_dict().items()
        if models.is_pretrained_weight(name)
    }
    save_file(weights, folder / models.WEIGHTS_FILE)
    card = {
        "what": "weights that forecast without training, learned from synthetic worlds alone",
        "made_by": "make pretrain",
        **facts,
        "model": fitted.model.config.to_dict(),
        "training": fitted.config.to_dict(),
        "validation_loss": fitted.validation_loss,
        "history": fitted.history,
        "code": code_hash(),
        "pretraining_code": _hash_sources(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "sha256": models.pretrained_digest(folder),
    }
    (folder / models.CARD_FILE).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def _hash_sources() -> str:
    """Return the SHA-256, in hex, of this module and of the worlds."""
    paths = (Path(__file__), *sorted(Path(worlds.__file__).parent.glob("*.py")))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _index_windows(panel: Panel, min_history: int) -> ft.Windows:
    return ft.index_windows(
        panel, ft.compute_features(panel), MODEL.horizon, min_history=min_history
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Pretrain from the command line and return the exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m lib.training.pretraining", description=__doc__)
    add = parser.add_argument
    add("--worlds", type=int, default=900, help="(default %(default)s)")
    add("--steps", type=int, default=TRAINING.steps, help="of the trunk (default %(default)s)")
    add("--branch-steps", type=int, default=BRANCH_STEPS, help="of all (default %(default)s)")
    add("--seed", type=int, default=77, help="(default %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default %(default)s)")
    add("--out", type=Path, default=models.ZERO_SHOT_FOLDER, help="folder to write")
    add("--checkpoint", type=Path, default=ROOT / "var" / "pretraining", help="to resume from")
    options = parser.parse_args(arguments)
    configure_logging("INFO")
    torch.set_num_threads(1)
    started, processor = time.monotonic(), time.process_time()
    training = replace(TRAINING, steps=options.steps)
    device = choose_device(options.device)
    trunk, fitted = pretrain(
        options.worlds,
        options.seed,
        options.checkpoint,
        training,
        branch_steps=options.branch_steps,
        device=device,
    )
    steps = {"trunk": options.steps, "branches": options.branch_steps}
    facts = {
        "worlds": options.worlds,
        "generators": list(worlds.GENERATORS),
        "seed": options.seed,
        "steps": steps,
        "windows": sum(steps.values()) * TRAINING.batch_size,
        "trunk_history": trunk.history,
        "device": device,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "processor_minutes": round((time.process_time() - processor) / 60, 1),
    }
    write_pretrained(fitted, options.out, facts)
    sys.stdout.write(f"{options.out}: validation loss {fitted.validation_loss:.4f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
