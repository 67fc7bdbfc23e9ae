"""Identify the code that a fit depends on, so that results of other code are not mixed with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from lib import models

SOURCES = (
    "data/calendar",
    "data/panel",
    "features/engineering",
    "features/windows",
    "models/config",
    "models/masked",
    "models/window_statistics",
    "models/base_forecasts",
    "models/encoder_decoder",
    "models/lstm",
    "training/config",
    "training/data",
    "training/augmentation",
    "training/loss",
    "training/schedule",
    "training/state",
    "training/validation",
    "training/loop",
)


def code_hash() -> str:
    """Return the SHA-256, in hex, of the sources and pretrained weights that decide a fit."""
    sources = (Path(__file__).parents[1] / f"{name}.py" for name in SOURCES)
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    folders = (models.PRETRAINED_FOLDER, models.ZERO_SHOT_FOLDER)
    parts += [models.pretrained_digest(folder) for folder in folders]
    return hashlib.sha256(" ".join([torch.__version__, *parts]).encode()).hexdigest()
