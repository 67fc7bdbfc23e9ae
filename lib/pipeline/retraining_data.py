"""Gathers the series that a retraining learns from: `RETRAIN_DATA`, and the actuals since."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from lib import data
from lib.data import COLUMN_PARAMETERS, SERIES_COLUMNS, Source, match_columns
from lib.pipeline.notebooks import TRAINING_STAGES, find_notebooks
from lib.pipeline.parameter_types import names_columns
from lib.pipeline.parameters import (
    ParameterError,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.profiles import load_profile
from lib.pipeline.retraining_actuals import read_new_actuals
from lib.settings import NOTEBOOKS, ROOT, Settings
from lib.storage import Store

_READING = {"DECIMAL": "decimal", "SEPARATOR": "separator", "ENCODING": "encoding"}
_COLUMNS = {
    "DATE_COLUMN": "date_column",
    "VALUE_COLUMN": "value_column",
    "SERIES_COLUMN": "series_column",
    "EXTERNAL_COLUMN": "external_column",
    "EVENT_COLUMN": "event_column",
}
_LISTS = {
    name: name.lower()
    for name in ("COVARIATES", "PAST_COVARIATES", "STATIC_COVARIATES", "CATEGORICAL")
}
log = structlog.get_logger()


class RetrainingError(ValueError):
    """There is no data to retrain on; the message names the setting and what to do."""


def retraining_parameters(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """Split RETRAIN_PARAMETERS into those by which the data is read and those of the pipeline.

    Raises:
        RetrainingError: they are not NAME=value, or name the data.
    """
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
    if any(name == "FUTURE" for name, _, _ in pairs):
        raise RetrainingError(
            "RETRAIN_PARAMETERS: FUTURE is for `make train` and `make backtest`, whose file it "
            "belongs to; leave it out"
        )
    names = {*_READING, *_COLUMNS, *_LISTS, "COUNTRY", "STATE"}
    values = {name: value for name, _, value in pairs}
    # COVARIATES without names is the switch of the backtest.
    names -= set() if names_columns(values.get("COVARIATES", "")) else {"COVARIATES"}
    reading = {name: value for name, value in values.items() if name in names}
    return reading, {name: value for name, value in values.items() if name not in names}


def held_out(settings: Settings) -> int:
    """Return how many days at the end of the data judge a challenger and never train it, at least.

    Raises:
        RetrainingError: a parameter is wrong.
    """
    paths = find_notebooks(NOTEBOOKS, TRAINING_STAGES)
    declared = {stage: declared_parameters(path) for stage, path in paths.items()}
    try:
        profile = load_profile(NOTEBOOKS / "params" / f"{settings.retrain_profile}.yaml")
        values = resolve_parameters(declared, profile, retraining_parameters(settings)[1])
    except ParameterError as error:
        last = str(error).splitlines()[-1]
        raise RetrainingError(f"RETRAIN_PROFILE, RETRAIN_PARAMETERS: {last}") from error
    stage = next(name for name in declared if name.startswith("02"))
    days = {name: parameter.value for name, parameter in declared[stage].items()} | values[stage]
    validation = days["VALIDATION_DAYS"] or 2 * days["HORIZON"]
    return days["HORIZON"] + (days["CUTOFFS"] - 1) * days["STEP"] + validation


def gather_data(store: Store, settings: Settings) -> tuple[pd.DataFrame, int]:
    """Return the series table up to today, and how many of its days come from actuals.

    Where data and actuals both have a day's value, that of the data counts.

    Raises:
        RetrainingError: RETRAIN_DATA or RETRAIN_PARAMETERS cannot be used.
        SeriesError: the data is not a valid series table.
        StoreError: the database cannot be used.
    """
    reading, _ = retraining_parameters(settings)
    table = _read_data(settings, reading)
    more = read_new_actuals(store, table, takes_unknown=settings.retrain_unknown_series)
    if len(more):
        # A day that the data has without its value keeps its covariates.
        keys = ["series_id", "date"]
        table = more.set_index(keys).combine_first(table.set_index(keys)).reset_index()
    covariates = data.covariate_columns(table.columns)
    table = table[[*SERIES_COLUMNS, *covariates]]
    table = table.sort_values(["series_id", "date"], ignore_index=True)
    country, state = reading.get("COUNTRY", ""), reading.get("STATE", "")
    if country and table["evento_especial"].isna().all():
        table = table.drop(columns="evento_especial")
    return data.validate(table, country=country, state=state), len(more)


def _read_data(settings: Settings, reading: Mapping[str, str]) -> pd.DataFrame:
    """Return the table that RETRAIN_DATA names: files or a query."""
    source = settings.retrain_data.strip()
    if not source:
        raise RetrainingError(
            "RETRAIN_DATA: expected a CSV or Parquet file, a pattern such as exports/*.csv, or a "
            "query (SELECT …): the training data of the model, kept up to date or not"
        )
    if source.split()[0].upper() in ("SELECT", "WITH"):
        return _run_query(source, settings, reading)
    return _read_files(source, reading)


def _read_files(pattern: str, reading: Mapping[str, str]) -> pd.DataFrame:
    paths = [Path(name) for name in sorted(glob.glob(str(ROOT / pattern), recursive=True))]  # noqa: PTH207 - an absolute pattern
    if not paths:
        raise RetrainingError(
            f"RETRAIN_DATA: there is no file {ROOT / pattern}; expected a CSV or Parquet file"
        )
    options: dict[str, Any] = {
        option: reading.get(name, "") for name, option in (_READING | _COLUMNS).items()
    }
    options = {name: value for name, value in options.items() if value}
    options |= _lists(reading)
    kinds: dict[str, Any] = {}
    tables = []
    for path in paths:
        # One file may hold a single month, so the length is checked on the whole; the kinds of
        # its covariates are those of the first.
        tables.append(data.load(path, min_days=1, kinds=kinds, **options))
        kinds = _kinds(tables[-1]) | kinds
    if len(tables) == 1:
        return tables[0]
    whole = pd.concat(tables, ignore_index=True)
    whole = whole[whole[list(whole.columns[2:])].notna().any(axis=1)]
    kept = whole.drop_duplicates(["series_id", "date"], keep="last")
    if len(kept) < len(whole):
        log.info("days in several files: the last file counts", days=len(whole) - len(kept))
    return kept


def _lists(reading: Mapping[str, str]) -> dict[str, Any]:
    """Return the names of covariates, as arguments of `lib.data.load`."""
    return {
        option: [name.strip() for name in reading[parameter].split(",") if name.strip()]
        for parameter, option in _LISTS.items()
        if reading.get(parameter)
    }


def _kinds(table: pd.DataFrame) -> dict[str, Any]:
    columns = [data.split_column(name) for name in data.covariate_columns(table.columns)]
    return {name: kind for _, kind, name, _ in columns}


def _run_query(query: str, settings: Settings, reading: Mapping[str, str]) -> pd.DataFrame:
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
    lists = _lists(reading)
    names = data.CovariateNames(
        lists.get("covariates", ()),
        lists.get("past_covariates", ()),
        lists.get("static_covariates", ()),
    )
    source = Source("RETRAIN_DATA, the query")
    columns = match_columns(list(frame.columns), wanted | names.wanted(), source)
    frame = frame[list(columns.values())]
    frame.columns = [key if key in SERIES_COLUMNS else name for key, name in columns.items()]
    order = [name for name in ("series_id", "date") if name in frame]
    return data.validate(frame.sort_values(order, kind="stable"), min_days=1, **lists)
