"""The series a retraining learns from: what `RETRAIN_DATA` names, and the actuals since."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from lib import data
from lib.data import COLUMN_PARAMETERS, SERIES_COLUMNS, WINDOW_DAYS, Source, match_columns
from lib.features import FEATURES
from lib.pipeline.parameters import (
    ParameterError,
    declared_parameters,
    load_profile,
    resolve_parameters,
)
from lib.settings import NOTEBOOKS, ROOT, Settings
from lib.storage import Store, actuals, predictions

GAP = 180  # days without an actual, after which the next is believed to be a typing error
_READING = {"DECIMAL": "decimal", "SEPARATOR": "separator", "ENCODING": "encoding"}
_COLUMNS = {
    "DATE_COLUMN": "date_column",
    "VALUE_COLUMN": "value_column",
    "SERIES_COLUMN": "series_column",
    "EXTERNAL_COLUMN": "external_column",
    "EVENT_COLUMN": "event_column",
}
_KNOWN = ("fator_externo", "evento_especial")
log = structlog.get_logger()


class RetrainingError(ValueError):
    """There is nothing to retrain with; the message names the setting and what to do."""


def retraining_parameters(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """RETRAIN_PARAMETERS: those that say how the data is read, and those of the pipeline."""
    try:
        pairs = [text.partition("=") for text in shlex.split(settings.retrain_parameters)]
    except ValueError as error:
        raise RetrainingError(f"RETRAIN_PARAMETERS: {error}; expected NAME=value …") from error
    wrong = [name for name, equals, _ in pairs if not equals or name in ("DATA", "RUN_DIR")]
    if wrong:
        raise RetrainingError(
            f"RETRAIN_PARAMETERS: got {wrong[0]!r}, expected NAME=value …; the data is named by "
            "RETRAIN_DATA"
        )
    own = {*_READING, *_COLUMNS, "COUNTRY"}
    given = {name: value for name, _, value in pairs}
    reading = {name: value for name, value in given.items() if name in own}
    return reading, {name: value for name, value in given.items() if name not in own}


def held_out(settings: Settings) -> int:
    """Days at the end of the data that a challenger is judged by and never learns from, at least.

    Raises RetrainingError naming a parameter that is wrong.
    """
    known = {
        path.stem: declared_parameters(path) for path in sorted(NOTEBOOKS.glob("0[1-4]_*.ipynb"))
    }
    try:
        profile = load_profile(NOTEBOOKS / "params" / f"{settings.retrain_profile}.yaml")
        given = resolve_parameters(known, profile, retraining_parameters(settings)[1])
    except ParameterError as error:
        last = str(error).splitlines()[-1]
        raise RetrainingError(f"RETRAIN_PROFILE, RETRAIN_PARAMETERS: {last}") from error
    stage = next(name for name in known if name.startswith("02"))
    days = {name: parameter.value for name, parameter in known[stage].items()} | given[stage]
    validation = days["VALIDATION_DAYS"] or 2 * days["HORIZON"]
    return days["HORIZON"] + (days["CUTOFFS"] - 1) * days["STEP"] + validation


def gather_data(store: Store, settings: Settings) -> tuple[pd.DataFrame, int]:
    """The series table up to today. → canonical table, number of days that actuals added.

    Where both know a day's value that of the data counts. Raises RetrainingError, SeriesError
    and StoreError.
    """
    reading, _ = retraining_parameters(settings)
    table = _base(settings, reading)
    more = _since(store, table)
    if len(more):
        # A day that is there without its value keeps what else is known of it.
        keys = ["series_id", "date"]
        table = more.set_index(keys).combine_first(table.set_index(keys)).reset_index()
    table = table[list(SERIES_COLUMNS)].sort_values(["series_id", "date"], ignore_index=True)
    country = reading.get("COUNTRY", "")
    if country and table["evento_especial"].isna().all():
        table = table.drop(columns="evento_especial")
    return data.validate(table, country=country), len(more)


def _base(settings: Settings, reading: Mapping[str, str]) -> pd.DataFrame:
    asked = settings.retrain_data.strip()
    if not asked:
        raise RetrainingError(
            "RETRAIN_DATA: expected a CSV or Parquet file, a pattern such as exports/*.csv, or a "
            "query (SELECT …): what the model was trained on, kept up to date or not"
        )
    if asked.split()[0].upper() in ("SELECT", "WITH"):
        return _query(asked, settings, reading)
    paths = [Path(name) for name in sorted(glob.glob(str(ROOT / asked), recursive=True))]  # noqa: PTH207 - an absolute pattern
    if not paths:
        raise RetrainingError(
            f"RETRAIN_DATA: there is no file {ROOT / asked}; expected a CSV or Parquet file"
        )
    options = {option: reading.get(name, "") for name, option in (_READING | _COLUMNS).items()}
    options = {name: value for name, value in options.items() if value}
    # One file may hold a month, so the length is looked at when they are together.
    tables = [data.load(path, min_days=1, **options) for path in paths]
    if len(tables) == 1:
        return tables[0]
    whole = pd.concat(tables, ignore_index=True)
    whole = whole[whole[list(SERIES_COLUMNS[2:])].notna().any(axis=1)]
    kept = whole.drop_duplicates(["series_id", "date"], keep="last")
    if len(kept) < len(whole):
        log.info("days in several files: the last file counts", days=len(whole) - len(kept))
    return kept


def _query(query: str, settings: Settings, reading: Mapping[str, str]) -> pd.DataFrame:
    url = sa.make_url(settings.retrain_database_url or settings.database_url)
    engine = sa.create_engine(url, hide_parameters=True)
    try:
        with engine.connect() as connection:
            # Without parameters, or a driver would take a % of the query for one.
            plain = connection.execution_options(no_parameters=True)
            result = plain.exec_driver_sql(query)
            frame = pd.DataFrame(result.all(), columns=pd.Index(list(result.keys())))
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise RetrainingError(
            f"RETRAIN_DATA: {url.render_as_string(hide_password=True)} does not answer the query: "
            f"{reason}"
        ) from error
    finally:
        engine.dispose()
    wanted = {column: reading.get(name, "") for column, name in COLUMN_PARAMETERS.items()}
    wanted |= {name: wanted[name] or name for name in ("date", "value")}
    found = match_columns(list(frame.columns), wanted, Source("RETRAIN_DATA, the query"))
    frame = frame[list(found.values())]
    frame.columns = list(found)
    order = [name for name in ("series_id", "date") if name in frame]
    return data.validate(frame.sort_values(order, kind="stable"), min_days=1)


def _since(store: Store, table: pd.DataFrame) -> pd.DataFrame:
    """The actuals of days that the table does not know. → rows of SERIES_COLUMNS."""
    said = sa.select(actuals.c.series_id, actuals.c.date, actuals.c.value)
    said = said.where(actuals.c.series_id.is_not(None))
    with store.reading() as connection:
        rows = connection.execute(said.order_by(actuals.c.series_id, actuals.c.date)).all()
        known = _factors(connection, {row.series_id for row in rows})
    if not rows:
        return pd.DataFrame()
    observed = table[table["value"].notna()]
    there = set(zip(observed["series_id"], observed["date"].dt.date, strict=True))
    split = observed.groupby("series_id")["date"].agg(["min", "max"])
    first: dict[str, date] = split["min"].dt.date.to_dict()
    last: dict[str, date] = split["max"].dt.date.to_dict()
    days: dict[str, list[date]] = {}
    chosen = []
    for name, day, value in rows:
        if day < first.get(name, day):
            continue  # the data begins later on purpose
        before = [*days.get(name, ())[-1:], *([last[name]] if name in last else ())]
        if before and (day - max(before)).days > GAP:
            log.warning("actual ignored: far from all others", series_id=name, date=str(day))
            continue
        days.setdefault(name, []).append(day)
        if (name, day) not in there:
            chosen.append((name, day, value, *known.get((name, day), (np.nan, np.nan))))
    short = {
        name
        for name, seen in days.items()
        if name not in last and (seen[-1] - seen[0]).days + 1 < WINDOW_DAYS
    }
    if short:
        log.info("series too short to learn from yet", series=sorted(short)[:10])
    more = pd.DataFrame(
        [row for row in chosen if row[0] not in short], columns=pd.Index(SERIES_COLUMNS)
    )
    return more.astype({"series_id": "str", "date": "datetime64[us]"})


def _factors(
    connection: sa.Connection, names: set[str]
) -> dict[tuple[str, date], tuple[float, float]]:
    """Factor and event of days, from forecasts that were made on them."""
    kept = predictions.c
    asked = sa.select(kept.series_id, kept.first_date, kept.features).where(
        kept.series_id.is_not(None), kept.features.is_not(None)
    )
    at = [FEATURES.index(name) for name in _KNOWN]
    found: dict[tuple[str, date], tuple[float, float]] = {}
    for name, first, features in connection.execute(asked.order_by(kept.id)):
        if name in names:
            factor, event = (_number(features[i]) for i in at)
            found[name, date.fromordinal(first.toordinal() - 1)] = factor, event
    return found


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
