"""What people build first: pydantic objects → scaler → torch, in FastAPI under uvicorn.

`PEER_NETWORK=plain` (default) is one nn.LSTM of our encoder's size and a linear layer, less work
than our network does; `PEER_NETWORK=ours` is our own network in eager mode, from the same weights.
"""

import os
from pathlib import Path

import numpy as np
import torch
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn

from lib.features import FEATURES, known_future_after
from lib.training import load_weights


class Row(BaseModel):
    dia_semana_sin: float
    dia_semana_cos: float
    mes_sin: float
    mes_cos: float
    media_movel_7: float
    media_movel_30: float
    desvio_movel_7: float
    lag_1: float
    lag_7: float
    fator_externo: float
    evento_especial: float


class Sequence(BaseModel):
    sequence: list[Row]


class Plain(nn.Module):
    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(len(FEATURES), hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.lstm(x)[0][:, -1])


ours = load_weights(Path(os.environ["PEER_MODEL"]) / "weights.safetensors")
torch.manual_seed(0)
plain = Plain(ours.config.hidden, ours.config.layers).eval()
eager = os.environ.get("PEER_NETWORK") == "ours"
mean, std = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
near = np.datetime64("2024-01-01", "D")
app = FastAPI()


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(asked: Sequence) -> dict[str, float]:
    rows = np.array([[getattr(row, name) for name in FEATURES] for row in asked.sequence])
    with torch.no_grad():
        if eager:
            future = known_future_after(rows, ours.config.horizon, near)
            out = ours(torch.from_numpy(rows[None]), torch.from_numpy(future))
            return {"prediction": float(out[0, 0, ours.median_index])}
        scaled = torch.from_numpy(((rows - mean) / std)[None]).float()
        return {"prediction": float(plain(scaled)[0, 0])}
