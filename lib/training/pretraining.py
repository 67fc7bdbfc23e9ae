"""Pretrain the network that fits start from: `python -m lib.training.pretraining --help`.

It learns what daily series have in common from synthetic worlds alone, so that a short series of
a user has to teach a fit only what is particular to it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from lib import features as ft
from lib import models
from lib.data import Panel
from lib.log import configure_logging
from lib.models import ModelConfig
from lib.settings import ROOT
from lib.training import synthetic_worlds
from lib.training.config import TrainingConfig
from lib.training.data import Batch, TrainingData
from lib.training.loop import Fit, fit, progress_bar
from lib.training.provenance import code_hash

HORIZONS = (7, 14, 28, 28, 56)  # days; each batch is cut to one of them
VALIDATION_WORLDS = 60
MIN_HISTORY, MIN_VALIDATION_HISTORY = 28, 60  # days before an origin
VALIDATION_SEED = 10**6  # after the seeds of the training worlds
MODEL = ModelConfig(horizon=max(HORIZONS), members=3, dropout=0.1)
TRAINING = TrainingConfig(
    steps=3000,
    batch_size=128,
    learning_rate=3e-3,
    evaluate_every=250,
    patience=1000,
    ema_decay=0.995,
    validation_windows=1024,
    level_shift_prob=0.0,  # the worlds have level shifts already
    pretrained=False,
)


def pretrain(
    worlds: int, seed: int, training: TrainingConfig = TRAINING, checkpoint: Path | None = None
) -> Fit:
    """Fit MODEL to synthetic worlds, and keep the weights that are best on other worlds.

    Args:
        worlds: number of worlds to train on.
        seed: of the worlds and of the fit.
        training: settings of the fit, apart from its seed.
        checkpoint: a folder to resume from, as in `fit`.
    """
    panel = synthetic_worlds.draw_worlds(worlds, seed)
    held_out = synthetic_worlds.draw_worlds(VALIDATION_WORLDS, seed + VALIDATION_SEED)
    data = TrainingData(
        train=_index_windows(panel, MIN_HISTORY),
        validation=_index_windows(held_out, MIN_VALIDATION_HISTORY),
        factor_mean=float(panel.factor.mean()),
        factor_std=float(panel.factor.std()),
        nonnegative=True,
    )
    settings = replace(training, seed=seed)
    return fit(
        data,
        MODEL,
        settings,
        checkpoint=checkpoint,
        on_evaluation=progress_bar(settings),
        transform=cut_horizon,
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
        "what": "weights from which a fit starts, learned from synthetic worlds alone",
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
    paths = (Path(__file__), Path(synthetic_worlds.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _index_windows(panel: Panel, min_history: int) -> ft.Windows:
    return ft.index_windows(
        panel, ft.compute_features(panel), MODEL.horizon, min_history=min_history
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Pretrain from the command line and return the exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m lib.training.pretraining", description=__doc__)
    parser.add_argument("--worlds", type=int, default=600, help="(default %(default)s)")
    parser.add_argument("--steps", type=int, default=TRAINING.steps, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=77, help="(default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=models.PRETRAINED_FOLDER, help="folder to write"
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=ROOT / "var" / "pretraining", help="to resume from"
    )
    options = parser.parse_args(arguments)
    configure_logging("INFO")
    torch.set_num_threads(1)
    started = time.monotonic()
    training = replace(TRAINING, steps=options.steps)
    fitted = pretrain(options.worlds, options.seed, training, options.checkpoint)
    minutes = round((time.monotonic() - started) / 60, 1)
    facts = {"worlds": options.worlds, "seed": options.seed, "minutes": minutes}
    write_pretrained(fitted, options.out, facts)
    sys.stdout.write(f"{options.out}: validation loss {fitted.validation_loss:.4f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
