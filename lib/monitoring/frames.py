"""The frames that checks read: from the database of a service, or from the folder of a run."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import sqlalchemy as sa

from lib import features as ft
from lib.data import SERIES_COLUMNS, to_panel
from lib.monitoring.actuals import join_actuals
from lib.monitoring.arrival_rows import earliest_first_date, is_trusted
from lib.monitoring.plausibility import LARGEST, find_implausible
from lib.storage import Store, actuals, predictions

HISTORY_DAYS = 84  # of actuals before the first target day: 8 weeks before a cutoff of 4 weeks ago
MOST = 20_000  # forecasts of a check; of more an even sample is drawn
_LINES = str.maketrans(",", "\n", "[] ")
_HASH = (2_654_435_761, 2**32)  # Knuth's: ids near each other are drawn independently


@dataclass(frozen=True)
class Implausible:
    """An actual that its series' past does not let expect. `date` is an ISO day."""

    series_id: str
    date: str
    value: float
    reason: str


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
    start, end = _date(first), _date(last)
    with store.reading() as connection:
        name = store.model_name
        stored, share = _read_predictions(connection, name, start, end, most)
        names = None if share == 1 or (stored["series_id"] == "").any() else stored["series_id"]
        read = _read_history(connection, start - timedelta(days=HISTORY_DAYS), end, names)
        by_trace = _read_actuals_by_trace(connection, name, start, end)
    known, quarantined = _leave_out_implausible(read)
    stored = stored.drop_duplicates(
        ["series_id", "first_date", "model_version", "trace"], keep="last"
    )
    exploded = _explode(stored, first, last)
    exploded["actual"] = exploded["trace"].map(by_trace).astype(np.float64)
    exploded = exploded.rename(columns={"trace": "trace_id"})
    features = _extract_features(stored)
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


def _read_predictions(
    connection: sa.Connection, model_name: str, start: date, end: date, most: int
) -> tuple[pd.DataFrame, float]:
    """Read the predictions about these days, JSON still as text, and the share drawn."""
    kept = predictions.c
    zone = _midnight(start - timedelta(days=1)), _midnight(end + timedelta(days=1))
    # The name in both, or no index would serve them.
    dated = sa.and_(
        kept.model_name == model_name,
        kept.first_date >= earliest_first_date(start),
        kept.first_date <= end + timedelta(days=1),
        kept.last_date >= start,
    )
    undated = sa.and_(
        kept.model_name == model_name,
        kept.first_date.is_(None),
        kept.created_at >= zone[0],
        kept.created_at < zone[1],
    )
    about = sa.or_(dated, undated)
    about, share = _choose_sample(connection, about, most)
    # cast, or both SQLAlchemy and psycopg would build lists of Python floats
    text = ("levels", "quantiles", "features")
    columns = {
        "trace": kept.trace_id,
        "made_at": sa.cast(kept.created_at, sa.Text),
        "model_version": kept.model_version,
        "series_id": kept.series_id,
        "first_date": sa.cast(kept.first_date, sa.Text),
    } | {name: sa.cast(kept[name], sa.Text) for name in text}
    rows = connection.execute(sa.select(*columns.values()).where(about).order_by(kept.id)).all()
    cells = zip(*rows, strict=True) if rows else ((),) * len(columns)
    # dtype=object twice, or pandas would copy half a gigabyte of text into Arrow's
    stored = pd.DataFrame(
        {name: np.array(c, dtype=object) for name, c in zip(columns, cells, strict=True)},
        dtype=object,
    )
    made = np.array([t[:19] for t in stored["made_at"]], dtype="datetime64[s]")
    first = stored["first_date"].to_numpy().astype("datetime64[D]")
    dated_rows = ~np.isnat(first)
    stored["made_at"] = made
    stored["first_date"] = np.where(dated_rows, first, made.astype("datetime64[D]") + 1)
    stored.loc[dated_rows, "trace"] = ""  # the series and the day are what it is about
    stored["series_id"] = stored["series_id"].where(dated_rows, "")
    return stored.astype({"model_version": np.int64}), share


def _choose_sample(
    connection: sa.Connection, about: sa.ColumnElement[bool], most: int
) -> tuple[sa.ColumnElement[bool], float]:
    """Choose the rows to read of those `about` these days, and return their share.

    Whole series, so that of each day its last forecast is among them; in the order of a hash, the
    same at each check. Single rows where some have no series, or one has most of them.
    """
    kept = predictions.c
    count = connection.execute(sa.select(sa.func.count()).where(about)).scalar_one()
    if count <= most:
        return about, 1.0
    by_name = sa.select(kept.series_id, sa.func.count()).where(about).group_by(kept.series_id)
    numbers = {row[0]: row[1] for row in connection.execute(by_name)}
    chosen, total = [], 0
    for name in sorted(numbers, key=lambda name: zlib.crc32((name or "").encode())):
        if total + numbers[name] > most:
            break
        chosen.append(name)
        total += numbers[name]
    if 2 * total >= most and None not in chosen:
        return sa.and_(about, kept.series_id.in_(chosen)), total / count
    factor, modulus = _HASH
    return sa.and_(about, (kept.id * factor) % modulus < int(modulus * most / count)), most / count


def _explode(stored: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> pd.DataFrame:
    """Return one row a forecast day, of the days first to last."""
    parts = []
    for levels, group in stored.groupby("levels", sort=False):
        names = [f"q{level:g}" for level in json.loads(str(levels))]
        counts = np.array([text.count(",") + 1 for text in group["quantiles"]], dtype=np.int64)
        days = counts // len(names)
        values = _parse_numbers(group["quantiles"]).reshape(-1, len(names))
        row = np.repeat(np.arange(len(group)), days)
        horizon = np.arange(len(row)) - np.repeat(np.cumsum(days) - days, days) + 1
        date = group["first_date"].to_numpy().astype("datetime64[D]")[row] + horizon - 1
        wanted = (date >= first) & (date <= last)
        row = row[wanted]
        frame = pd.DataFrame(
            {
                "series_id": pd.Categorical(group["series_id"]).take(row),
                "trace": pd.Categorical(group["trace"]).take(row),
                "date": date[wanted].astype("datetime64[s]"),
                "horizon": horizon[wanted],
                "model_version": group["model_version"].to_numpy()[row],
                "made_at": group["made_at"].to_numpy()[row],
            }
        )
        parts.append(frame.assign(**dict(zip(names, values[wanted].T, strict=True))))
    if not parts:
        names = ["series_id", "trace", "date", "horizon", "model_version", "made_at", "q0.5"]
        return pd.DataFrame({name: pd.Series(dtype="float64") for name in names}).astype(
            {"series_id": "str", "trace": "str", "date": "datetime64[s]", "horizon": "int64"}
        )
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _extract_features(stored: pd.DataFrame) -> pd.DataFrame:
    """Return one row a forecast: series_id, the last known day, the eleven features."""
    known = stored[stored["features"].notna()]
    values = np.empty((0, len(ft.FEATURES)))
    if len(known):
        values = _parse_numbers(known["features"])
        values = values.reshape(-1, len(ft.FEATURES))
    table = pd.DataFrame(values, columns=list(ft.FEATURES))
    day = known["first_date"].to_numpy().astype("datetime64[D]") - 1
    table.insert(0, "date", day.astype("datetime64[s]"))
    table.insert(0, "series_id", known["series_id"].to_numpy())
    return table


def _parse_numbers(texts: pd.Series) -> np.ndarray:
    """Parse the numbers of JSON lists, flat, NaN for null; Arrow is 20 times as fast as json."""
    lines = ",".join(texts).translate(_LINES).encode()
    options = pa_csv.ConvertOptions(column_types={"n": pa.float64()}, null_values=["null"])
    read = pa_csv.ReadOptions(column_names=["n"], use_threads=False)
    parse = pa_csv.ParseOptions(ignore_empty_lines=False)
    table = pa_csv.read_csv(pa.BufferReader(lines), read, parse, options)
    return table.column("n").to_numpy().astype(np.float64)


def _read_history(
    connection: sa.Connection, start: date, end: date, names: pd.Series | None
) -> pd.DataFrame:
    """Read the actuals of these days, of all series (`names` is None) or of some."""
    kept = actuals.c
    query = sa.select(kept.series_id, sa.cast(kept.date, sa.Text), kept.value, kept.quality)
    query = query.where(
        kept.series_id.is_not(None), kept.date >= start, kept.date <= end, is_trusted()
    )
    if names is not None:
        query = query.where(kept.series_id.in_(sorted(set(names))))
    # tuples of the driver: SQLAlchemy's rows would take as long again, and nothing is to convert
    cursor = connection.execute(query).cursor
    rows = cursor.fetchall() if cursor else ()
    # by column: `zip(*rows)` of half a million rows takes as long as reading them
    ids, dates, values, quality = ([row[i] for row in rows] for i in range(4))
    return pd.DataFrame(
        {
            "series_id": pd.Categorical(np.array(ids, dtype=object)),
            "date": np.array(dates, dtype="datetime64[D]").astype("datetime64[s]"),
            "value": np.array(values, dtype=np.float64),
            "released": np.array([one is not None for one in quality], dtype=bool),
        }
    )


def _leave_out_implausible(read: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Implausible, ...]]:
    """Split actuals into those to use and those that are implausible and were not released."""
    history = read.drop(columns="released")
    values = history["value"].to_numpy()
    doubts = find_implausible(history["series_id"].cat.codes.to_numpy(), values)
    released = read["released"].to_numpy()
    doubted = [row for row in doubts if not released[row]]
    names, days = history["series_id"], history["date"].to_numpy().astype("datetime64[D]")
    found = tuple(
        Implausible(str(names.iloc[row]), str(days[row]), float(values[row]), doubts[row])
        for row in doubted
    )
    if not doubted:
        return history, ()
    return history.drop(index=doubted).reset_index(drop=True), found


def _read_actuals_by_trace(
    connection: sa.Connection, model_name: str, start: date, end: date
) -> dict[str, float]:
    """Return the actuals of forecasts without a series, by trace."""
    kept = predictions.c
    query = sa.select(actuals.c.trace_id, actuals.c.value)
    query = query.join(predictions, kept.trace_id == actuals.c.trace_id)
    query = query.where(
        actuals.c.trace_id.is_not(None),
        is_trusted(),
        kept.model_name == model_name,
        kept.first_date.is_(None),
        kept.created_at >= _midnight(start - timedelta(days=1)),
        kept.created_at < _midnight(end + timedelta(days=1)),
    )
    rows = connection.execute(query)
    return {row.trace_id: row.value for row in rows if abs(row.value) <= LARGEST}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _date(day: np.datetime64) -> Any:
    return day.astype("datetime64[D]").astype(object)
