"""Read the stored forecasts about some days, as tables."""

from __future__ import annotations

import json
import zlib
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import sqlalchemy as sa

from lib import features as ft
from lib.monitoring.arrival_rows import earliest_first_date, midnight
from lib.monitoring.drift_reference import HAS_COVARIATES
from lib.storage import predictions

_LINES = str.maketrans(",", "\n", "[] ")
_HASH = (2_654_435_761, 2**32)  # Knuth's: ids near each other are drawn independently


def read_predictions(
    connection: sa.Connection, model_name: str, start: date, end: date, most: int
) -> tuple[pd.DataFrame, float]:
    """Read the predictions about these days, JSON still as text, and the share drawn."""
    kept = predictions.c
    zone = midnight(start - timedelta(days=1)), midnight(end + timedelta(days=1))
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
    text = ("levels", "quantiles", "features", "covariates")
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


def explode(stored: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> pd.DataFrame:
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


def extract_features(stored: pd.DataFrame) -> pd.DataFrame:
    """Return one row a forecast: series_id, the last known day, the eleven features, covariates.

    Where any row has covariates, `has_covariates` tells which have those of the newest one: rows
    of earlier programs and of models with others have none of them.
    """
    known = stored[stored["features"].notna()]
    values = np.empty((0, len(ft.FEATURES)))
    if len(known):
        values = _parse_numbers(known["features"])
        values = values.reshape(-1, len(ft.FEATURES))
    table = pd.DataFrame(values, columns=list(ft.FEATURES))
    day = known["first_date"].to_numpy().astype("datetime64[D]") - 1
    table.insert(0, "date", day.astype("datetime64[s]"))
    table.insert(0, "series_id", known["series_id"].to_numpy())
    return table.assign(**_extract_covariates(known["covariates"], table))


def _extract_covariates(texts: pd.Series, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns of covariates, (rows,) each: floats, or text where any is text."""
    sent = [json.loads(text) if text is not None else {} for text in texts]
    names = next((row.keys() for row in reversed(sent) if row), ())
    if not names:
        return {}
    columns = {HAS_COVARIATES: np.array([row.keys() == names for row in sent])}
    for name in names:
        if name not in table and name not in columns:
            cells = np.array([row.get(name) for row in sent], dtype=object)
            is_text = any(isinstance(cell, str) for cell in cells)
            columns[name] = cells if is_text else cells.astype(np.float64)
    return columns


def _parse_numbers(texts: pd.Series) -> np.ndarray:
    """Parse the numbers of JSON lists, flat, NaN for null; Arrow is 20 times as fast as json."""
    lines = ",".join(texts).translate(_LINES).encode()
    options = pa_csv.ConvertOptions(column_types={"n": pa.float64()}, null_values=["null"])
    read = pa_csv.ReadOptions(column_names=["n"], use_threads=False)
    parse = pa_csv.ParseOptions(ignore_empty_lines=False)
    table = pa_csv.read_csv(pa.BufferReader(lines), read, parse, options)
    return table.column("n").to_numpy().astype(np.float64)
