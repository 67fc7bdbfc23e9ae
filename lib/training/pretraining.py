"""Make the network from which fits start: `python -m lib.training.pretraining --help`.

It learns what daily series have in common from synthetic worlds alone, so that a short series of
a user's own needs to teach it only what is its own. Worlds are drawn from `lib.data.synthesis` with
dials at random, and made less regular than it makes them: values that remember (fast and slow
autoregressive swings), weeks of any form, and small counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from lib import features as ft
from lib import models
from lib.data import Panel, SynthesisSpec, synthesize, weekday_of
from lib.log import configure_logging
from lib.models import ModelConfig
from lib.settings import ROOT
from lib.training.config import TrainingConfig
from lib.training.data import Data, code_hash
from lib.training.loop import Fit, SingleProcess, fit, progress_bar

SERIES = 6  # of one world
HORIZONS = (7, 14, 28, 28, 56)
HELD_OUT = 60  # worlds to validate with
_COUNTRIES = ("BR", "US", "DE", "GB", "AU", "", "")
MODEL = ModelConfig(horizon=max(HORIZONS), members=3, dropout=0.1)
TRAINING = TrainingConfig(
    steps=3000,
    batch=128,
    learning_rate=3e-3,
    evaluate_every=250,
    patience=1000,
    ema=0.995,
    validation_windows=1024,
    changes=0.0,  # the worlds have regimes of their own
    pretrained=False,
)


class AnyHorizon(SingleProcess):
    """Cuts each batch to a horizon drawn from HORIZONS."""

    def share(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Features as they are; future and targets of the first days."""
        context, future, targets = batch
        # torch is seeded by every step of a fit, so that one that goes on draws the same.
        days = HORIZONS[int(torch.randint(len(HORIZONS), ()))]
        return context, future[:, :days], targets[:, :days]


def world(seed: int) -> Panel:
    """SERIES series of one world, 420 to 1,500 days, in arbitrary units."""
    rng = np.random.default_rng([seed, 1])
    spec = _dials(rng)
    panel, _ = synthesize(spec, seed)
    shape = (spec.n_series, spec.n_days)
    values = panel.values.reshape(shape) * np.exp(_swings(rng, shape) + _week(rng, panel, shape))
    if rng.random() < 0.15:
        mean = _log_uniform(rng, 0.3, 20.0) / max(float(np.nanmean(values)), 1e-9)
        counts = rng.poisson(np.minimum(np.nan_to_num(values * mean), 1e6)).astype(float)
        values = np.where(np.isfinite(values), counts, np.nan)
    return replace(panel, values=values.ravel())


def worlds(count: int, seed: int) -> Panel:
    """The series of `count` worlds in one panel."""
    panels = [world(seed + number) for number in range(count)]
    origins = np.cumsum([len(panel.values) for panel in panels])
    starts = [0, *origins[:-1]]
    parts = [p.offsets[1:] + start for p, start in zip(panels, starts, strict=True)]
    return Panel(
        ids=tuple(f"{number}_{name}" for number, p in enumerate(panels) for name in p.ids),
        offsets=np.concatenate([[0], *parts]).astype(np.int64),
        dates=np.concatenate([panel.dates for panel in panels]),
        values=np.concatenate([panel.values for panel in panels]),
        factor=np.concatenate([panel.factor for panel in panels]),
        event=np.concatenate([panel.event for panel in panels]),
    )


def pretrain(
    count: int, seed: int, training: TrainingConfig = TRAINING, checkpoint: Path | None = None
) -> Fit:
    """Fit MODEL to `count` worlds, stopped by none and judged by others."""
    train, held_out = worlds(count, seed), worlds(HELD_OUT, seed + 10**6)
    data = Data(
        train=_windows(train, 28),
        validation=_windows(held_out, 60),
        factor_mean=float(train.factor.mean()),
        factor_std=float(train.factor.std()),
        nonnegative=True,
    )
    settings = replace(training, seed=seed)
    return fit(
        data,
        MODEL,
        settings,
        checkpoint=checkpoint,
        on_evaluation=progress_bar(settings),
        team=AnyHorizon(),
    )


def write(found: Fit, folder: Path, facts: dict[str, object]) -> None:
    """Weights and the card that says what made them; what is there is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    learned = {
        name: tensor.contiguous()
        for name, tensor in found.model.state_dict().items()
        if name.startswith("members.") or name == "filter"
    }
    save_file(learned, folder / models.WEIGHTS)
    card = {
        "what": "weights from which a fit starts, learned from synthetic worlds alone",
        "made_by": "make pretrain",
        **facts,
        "model": found.model.config.to_dict(),
        "training": found.config.to_dict(),
        "validation_loss": found.validation_loss,
        "history": found.history,
        "code": code_hash(),
        "pretraining_code": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "sha256": models.digest(folder),
    }
    (folder / models.CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def _windows(panel: Panel, min_history: int) -> ft.Windows:
    return ft.index_windows(
        panel, ft.compute_features(panel), MODEL.horizon, min_history=min_history
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _dials(rng: np.random.Generator) -> SynthesisSpec:
    def some(without: float, low: float, high: float) -> float:
        return 0.0 if rng.random() < without else float(rng.uniform(low, high))

    return SynthesisSpec(
        n_series=SERIES,
        n_days=int(rng.integers(420, 1500)),
        start=str(np.datetime64("2005-01-01") + rng.integers(6000)),
        country=_COUNTRIES[rng.integers(len(_COUNTRIES))],
        level=float(10 ** rng.uniform(0.5, 4.0)),
        trend=some(0.1, 0.0, 0.5),
        regime_days=int(_log_uniform(rng, 60, 1500)),
        noise=_log_uniform(rng, 0.02, 0.4),
        volatility=some(0.3, 0.0, 1.5),
        weekly=some(0.1, 0.0, 0.6),
        yearly=some(0.2, 0.0, 0.5),
        amplitude_drift=float(rng.uniform(0.0, 0.8)),
        holiday=float(rng.uniform(-0.6, 0.6)),
        factor=some(0.3, -0.15, 0.15),
        factor_lag=int(rng.integers(3)),
        event=float(rng.uniform(-0.6, 1.0)),
        events_per_year=some(0.2, 2.0, 20.0),
        anomaly=some(0.3, 0.0, 0.03),
        missing=some(0.4, 0.0, 0.15),
    )


def _swings(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Logarithms of what a series remembers, for days and for months."""
    total = np.zeros(shape)
    for half_lives, sizes in (((1.0, 12.0), (0.01, 0.3)), ((15.0, 300.0), (0.02, 0.5))):
        if rng.random() < 0.7:
            remembered = 0.5 ** (1 / _log_uniform(rng, *half_lives))
            total += _log_uniform(rng, *sizes) * _autoregressive(rng, shape, remembered)
    return total


def _autoregressive(
    rng: np.random.Generator, shape: tuple[int, int], remembered: float
) -> np.ndarray:
    """A stationary AR(1) of unit variance, by rows."""
    swing = rng.standard_normal(shape)
    swing[:, 1:] *= math.sqrt(1 - remembered**2)
    for day in range(1, shape[1]):
        swing[:, day] += remembered * swing[:, day - 1]
    return swing


def _week(rng: np.random.Generator, panel: Panel, shape: tuple[int, int]) -> np.ndarray:
    """Logarithms of a week of the world's own, of any form, or zeros."""
    if rng.random() >= 0.6:
        return np.zeros(shape)
    common = _log_uniform(rng, 0.02, 0.5) * rng.standard_normal(7)
    own = common + 0.1 * rng.standard_normal((shape[0], 7))
    return own[:, weekday_of(panel.dates[: shape[1]])]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. → exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m lib.training.pretraining", description=__doc__)
    parser.add_argument("--worlds", type=int, default=600, help="(default %(default)s)")
    parser.add_argument("--steps", type=int, default=TRAINING.steps, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=77, help="(default %(default)s)")
    parser.add_argument("--out", type=Path, default=models.FOLDER, help="folder to write")
    parser.add_argument(
        "--checkpoint", type=Path, default=ROOT / "var" / "pretraining", help="to go on from"
    )
    asked = parser.parse_args(arguments)
    configure_logging("INFO")
    torch.set_num_threads(1)
    began = time.monotonic()
    training = replace(TRAINING, steps=asked.steps)
    found = pretrain(asked.worlds, asked.seed, training, asked.checkpoint)
    minutes = round((time.monotonic() - began) / 60, 1)
    write(found, asked.out, {"worlds": asked.worlds, "seed": asked.seed, "minutes": minutes})
    sys.stdout.write(f"{asked.out}: validation loss {found.validation_loss:.4f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
