"""Example bodies: they are shown in the API's description, and tests send them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

from lib.data import WINDOW_DAYS, Panel
from lib.features import FEATURES, compute_features
from lib.inference import Contract
from serving.schemas.covariates import CovariateFields

_FIRST = date(2026, 1, 5)


def example_rows(days: int = WINDOW_DAYS) -> list[dict[str, float | None]]:
    """Return the feature rows of consecutive days, as a client of `/predict` computes them."""
    before = 30  # so that the rolling statistics of the first row are whole
    n = days + before
    panel = Panel(
        ids=("series",),
        offsets=np.array([0, n]),
        dates=np.datetime64(_FIRST, "D") + np.arange(-before, days),
        values=_wave(n),
        factor=np.round(5 + np.cos(np.arange(n) / 9), 2),
        event=np.zeros(n),
    )
    rows = np.round(compute_features(panel)[before:], 6).tolist()
    return [dict(zip(FEATURES, row, strict=True)) for row in rows]


def example_history(days: int = 90) -> list[dict[str, Any]]:
    """Return a history for `/forecast`; one day is missing."""
    values: list[float | None] = list(_wave(days).tolist())
    values[40] = None
    return [
        {"date": str(_FIRST + timedelta(days=i)), "value": value} for i, value in enumerate(values)
    ]


def example_covariates(contract: Contract, most: int = 2) -> dict[str, Any]:
    """Return values of a few covariates of a model, for each day of an example."""
    values: dict[str, Any] = {}
    for name, item in list(CovariateFields.of(contract).rows.items())[:most]:
        label = next(iter(item["labels"]), None)
        values[name] = {"number": 1.5, "event": 0, "category": label}[item["kind"]]
    return values


def _wave(days: int) -> np.ndarray:
    """Return a series (days,): a level, a week, a little trend."""
    t = np.arange(days)
    return np.round(100 + 10 * np.sin(2 * np.pi * t / 7) + 0.05 * t, 2)
