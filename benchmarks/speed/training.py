"""Measure training throughput, and a whole search."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed import textbook
from benchmarks.speed.data import walk_panel
from benchmarks.speed.paired import Row, paired, row, seconds_of
from lib import training, tuning
from lib.calibration import PreparedData
from lib.data import Panel, SynthesisSpec, split_days, synthesize, to_table
from lib.models import LSTMForecaster, ModelConfig
from lib.settings import usable_cores
from lib.training import TrainingConfig
from lib.tuning import plan

HIDDEN, BATCH, STEPS = 128, 256, 10


def gemm_rate() -> float:
    """Return floating point operations a second of a large product on one thread, best of ten."""
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    best = min(seconds_of(lambda: [a @ b for _ in range(20)]) for _ in range(10))
    return 20 * 2 * 512**3 / best


def lstm_flops(inputs: int, hidden: int, days: int) -> float:
    """Return operations of one window, forward and backward (three products of the same size)."""
    return 3 * 2 * 4 * hidden * (inputs + hidden) * days


def throughput_rows(rounds: int, peers: Path) -> list[Row]:
    """Measure windows a second at hidden 128, batch 256, one thread, against peers and GEMM."""
    torch.set_num_threads(1)
    panel = walk_panel(50, 1000)
    split = split_days(panel, horizon=28, cutoffs=6, step=28, validation_days=100)
    shape = ModelConfig(hidden=HIDDEN, encoder_days=56, max_context=60)
    data = training.prepare(panel, split, shape)
    config = TrainingConfig(batch_size=BATCH, level_shift_prob=0.0)
    state = training.initial_state(data, shape, config)

    def train(steps: int) -> None:
        for _ in range(steps):
            training.train_step(state, data.train, config)

    plain = textbook.steps(data, HIDDEN, BATCH)
    train(1), plain(1)
    name = "DataLoader + nn.LSTM"
    ours, others = paired(lambda: train(STEPS), {name: lambda: plain(STEPS)}, rounds)
    windows = BATCH * STEPS
    rows = [row("training", windows / ours, windows / others[name], name, "windows/s", more=True)]
    if (peers / "bin" / "python").exists():
        rate = neuralforecast_rate(panel, peers)
        again = seconds_of(lambda: train(STEPS))
        rows.append(
            row("training", windows / again, rate, "neuralforecast LSTM", "windows/s", more=True)
        )
    limit = gemm_rate() / lstm_flops(18, HIDDEN, 56)
    name = "the encoder's products alone at the machine's GEMM rate"
    rows.append(row("training", windows / ours, limit, name, "windows/s", more=True))
    return rows


def neuralforecast_rate(panel: Panel, peers: Path) -> float:
    """Return windows a second of its `fit`: the difference of a long and a short one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        to_table(panel).to_parquet(folder / "series.parquet")
        job = {"series": str(folder / "series.parquet"), "hidden": HIDDEN, "batch": BATCH}
        (folder / "job.json").write_text(json.dumps(job))
        script = Path(__file__).with_name("neuralforecast_fit.py")
        command = [str(peers / "bin" / "python"), str(script), str(folder / "job.json")]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return float(done.stdout.split()[-1])


def tuning_rows(trials: int = 15, epochs: int = 20) -> list[Row]:
    """Measure a whole search on one synthetic series of 3,000 days, ours and a textbook one."""
    panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=3000), 0)
    split = split_days(panel, horizon=28, cutoffs=6, step=28, validation_days=180)
    shape = ModelConfig()
    data = training.prepare(panel, split, shape)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "series.parquet"
        to_table(panel).to_parquet(path)
        job = plan(
            path, panel, split, shape, TrainingConfig(), trials=trials, trial_steps=150,
            storage=f"sqlite:///{name}/study.db",
        )  # fmt: skip
        started = time.perf_counter()
        study = tuning.tune(job, workers=usable_cores(), progress=False)
        ours = time.perf_counter() - started
    unit = scales(data, shape)
    started = time.perf_counter()
    best = textbook.tune(data, trials, epochs, unit)
    peer = time.perf_counter() - started
    name = "one process, DataLoader, median pruning"
    return [
        row(f"tuning, {trials} trials", ours, peer, name, "s", more=False),
        row("tuning: best validation loss", study.best_value, best, name, "pinball", more=False),
    ]


def scales(data: PreparedData, shape: ModelConfig) -> np.ndarray:
    """Return the scale of each validation window, by which the loss is divided."""
    model = LSTMForecaster(shape)
    index = np.arange(len(data.validation.origins))
    batch = training.batch_of(data.validation, index, shape.max_context)
    with torch.no_grad():
        return model.predict_distribution(batch.context, batch.future)[2].numpy()
