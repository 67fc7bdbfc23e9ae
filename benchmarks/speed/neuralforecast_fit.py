"""Windows a second of neuralforecast's LSTM in its own `fit`. Runs in the peers' environment."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import LSTM

torch.set_num_threads(1)
job = json.loads(Path(sys.argv[1]).read_text())
table = pd.read_parquet(job["series"])[["series_id", "date", "value"]]
table.columns = ["unique_id", "ds", "y"]


def seconds(steps: int) -> float:
    model = LSTM(
        h=28,
        input_size=60,
        encoder_hidden_size=job["hidden"],
        encoder_n_layers=1,
        loss=MQLoss(level=[50, 80, 90]),
        max_steps=steps,
        batch_size=32,
        windows_batch_size=job["batch"],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    started = time.perf_counter()
    NeuralForecast(models=[model], freq="D").fit(df=table)
    return time.perf_counter() - started


seconds(2)
long, short = 42, 2
sys.stdout.write(f"\n{(long - short) * job['batch'] / (seconds(long) - seconds(short))}\n")
