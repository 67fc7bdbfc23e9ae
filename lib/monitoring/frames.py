"""The frames that checks read: from the database of a service, or from the folder of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from lib import features as ft
from lib.data import SERIES_COLUMNS, to_panel
from lib.monitoring.actuals import join_actuals
from lib.monitoring.arrival_rows import to_date
from lib.monitoring.stored_actuals import (
    Implausible,
    leave_out_implausible,
    read_actuals_by_trace,
    read_history,
)
from lib.monitoring.stored_forecasts import explode, extract_features, read_predictions
from lib.storage import Store

HISTORY_DAYS = 84  # of actuals before the first target day: 8 weeks before a cutoff of 4 weeks ago
MOST = 20_000  # forecasts of a check; of more an even sample is drawn


@dataclass(frozen=True)
class Frames:
    """The tables that checks read.

    Attributes:
        forecasts: one row a forecast day: series_id, date (datetime64[s] or ns), horizon (days),
            model_version, made_at, q<level>…; actual, naive and scale of `join_actuals`.
        history: series_id, date, value: the actuals.
        features: one row a forecast: series_id, date (the last known day), the eleven features;
            of a run also covariates.
        share: part of the stored forecasts that was drawn.
        quarantined: implausible actuals, left out of the others.
    """

    forecasts: pd.DataFrame
    history: pd.DataFrame
    features: pd.DataFrame
    share: float = 1.0
    quarantined: tuple[Implausible, ...] = ()


def from_store(
    store: Store, first: np.datetime64, last: np.datetime64, *, most: int = MOST
) -> Frames:
    """Read the forecasts of the target days `first` to `last` and their actuals.

    Of forecasts of the same series, day and version the last one counts. One without a series (of
    `/predict`) is about the day after it was made. Of more than `most` forecasts a sample is read,
    the same each time: all of some series, and the actuals of these. Actuals that are quarantined
    or implausible are left out. Raises StoreError.
    """
    start, end = to_date(first), to_date(last)
    with store.reading() as connection:
        name = store.model_name
        stored, share = read_predictions(connection, name, start, end, most)
        names = None if share == 1 or (stored["series_id"] == "").any() else stored["series_id"]
        read = read_history(connection, start - timedelta(days=HISTORY_DAYS), end, names)
        by_trace = read_actuals_by_trace(connection, name, start, end)
    known, quarantined = leave_out_implausible(read)
    stored = stored.drop_duplicates(
        ["series_id", "first_date", "model_version", "trace"], keep="last"
    )
    exploded = explode(stored, first, last)
    exploded["actual"] = exploded["trace"].map(by_trace).astype(np.float64)
    exploded = exploded.rename(columns={"trace": "trace_id"})
    features = extract_features(stored)
    return Frames(join_actuals(exploded, known), known, features, share, quarantined)


def from_run(folder: Path, *, model_version: int | None = None) -> Frames:
    """Read the backtest and the series of a run of the notebooks, as if it had been served.

    Args:
        folder: the run folder.
        model_version: of the model; None is the registered one, or 0 where it is not registered.

    Raises FileNotFoundError naming the notebook that writes what is missing.
    """
    for name, notebook in (("series.parquet", "01"), ("forecasts.parquet", "03")):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: run notebook {notebook} first")
    if model_version is None:
        model_version = _registered_version(folder)
    history = pd.read_parquet(folder / "series.parquet")
    forecasts = pd.read_parquet(folder / "forecasts.parquet").drop(columns="actual")
    forecasts = forecasts.rename(columns={"cutoff": "made_at"}).assign(model_version=model_version)
    panel = to_panel(history)
    rows = np.arange(len(panel.values))
    table = ft.tabulate_features(panel, ft.compute_features(panel), rows)
    known = history[list(SERIES_COLUMNS[:3])]
    return Frames(join_actuals(forecasts, known), known, table)


def _registered_version(folder: Path) -> int:
    outcome = folder / "mlflow.json"
    if not outcome.is_file():
        return 0
    return json.loads(outcome.read_text(encoding="utf-8")).get("version", 0)


def between(table: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> pd.DataFrame:
    """Return the rows whose `date` is in a period, both days included."""
    date = table["date"].to_numpy()
    return table[(date >= first) & (date <= last)]


def known_by(frames: Frames, day: np.datetime64) -> Frames:
    """Return what was known on the evening of a day: nothing of later days."""
    forecasts, history, features = (
        table[table["date"].to_numpy() <= day]
        for table in (frames.forecasts, frames.history, frames.features)
    )
    return Frames(forecasts, history, features, frames.share, frames.quarantined)
