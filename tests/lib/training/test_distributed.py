"""One fit by several processes: the curve of one process, and a restart that loses nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from safetensors import safe_open

from lib.data.panel import to_table
from lib.models.config import ModelConfig
from lib.settings import ROOT
from lib.training import loop
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from tests.panels import lively_panel, split_of

pytestmark = pytest.mark.slow

MODEL = ModelConfig(horizon=7, hidden=16, decoder_hidden=16, dropout=0.3)
STEPS, MEMBERS = 50, 2
TRAINING = TrainingConfig(steps=STEPS, batch=16, evaluate_every=1, patience=STEPS)


@pytest.fixture
def run_dir(tmp_path):
    """A run folder whose tuning is done."""
    panel = lively_panel(missing=0.2)
    split = split_of(panel)
    to_table(panel).to_parquet(tmp_path / "series.parquet")
    days = {name: str(getattr(split, name)) for name in split.__dataclass_fields__}
    result = {"model": MODEL.to_dict(), "training": TRAINING.to_dict(), "split": days}
    (tmp_path / "tuning.json").write_text(json.dumps(result))
    return tmp_path


def alone(evaluate_every, checkpoint=None):
    panel = lively_panel(missing=0.2)
    config = replace(MODEL, members=MEMBERS)  # of the fit: the search is with one
    data = prepare(panel, split_of(panel), config)
    settings = replace(TRAINING, evaluate_every=evaluate_every)
    return loop.fit(data, config, settings, checkpoint=checkpoint)


def torchrun(run_dir, evaluate_every, *options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", *options]
    command += ["-m", "lib.training.distributed", str(run_dir), "--steps", str(STEPS)]
    command += ["--members", str(MEMBERS)]
    return [*command, "--evaluate-every", str(evaluate_every), "--patience", str(STEPS)]


def history_of(run_dir):
    path = run_dir / "checkpoint" / "checkpoint.safetensors"
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["facts"])["history"]


def curve(history, name):
    return np.array([entry[name] for entry in history])


def test_two_processes_draw_the_loss_curve_of_one(run_dir):
    done = subprocess.run(
        torchrun(run_dir, 1), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found, expected = history_of(run_dir), alone(1).history
    assert len(found) == len(expected) == STEPS
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(curve(found, name), curve(expected, name), rtol=1e-4)
    # the stage of the notebook goes on from there, and has nothing left to do
    assert alone(1, run_dir / "checkpoint").history == found


def test_process_that_dies_is_restarted_from_the_checkpoint(run_dir):
    command = torchrun(run_dir, 5, "--max-restarts", "2")
    with (run_dir / "log").open("w") as log:
        launcher = subprocess.Popen(command, cwd=ROOT, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 200
        while not (run_dir / "checkpoint" / "checkpoint.safetensors").exists():
            assert launcher.poll() is None, (run_dir / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.01)
        workers = [p for p in psutil.Process(launcher.pid).children() if "lib" in str(p.cmdline())]
        workers[-1].send_signal(signal.SIGKILL)
        assert launcher.wait(300) == 0, (run_dir / "log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait(30)
    assert "training resumed" in (run_dir / "log").read_text()
    expected = alone(5).history
    assert [e["step"] for e in history_of(run_dir)] == [e["step"] for e in expected]
    np.testing.assert_allclose(
        curve(history_of(run_dir), "train_loss"), curve(expected, "train_loss"), rtol=1e-4
    )
