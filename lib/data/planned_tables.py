"""Users' tables of planned covariates: one row a day, or one for each time that a plan was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.blank_cells import fill_planned
from lib.data.covariates import covariate_columns, split_column
from lib.data.loading import KNOWN_AT, convert_planned
from lib.data.names import list_names
from lib.data.panel import SeriesError
from lib.data.readers import read
from lib.data.source import Source, as_frame, refuse_misspelt

KEYS = ["series_id", "date"]
COVARIATES = ["fator_externo", "evento_especial"]
OF_FRAME = Source("future", is_table=True)


def planned_columns(names: Mapping[str, str], history: pd.DataFrame) -> dict[str, str]:
    """Return the columns that a plan may have: canonical names to those of the user.

    Args:
        names: canonical names to the names of the user's columns.
        history: canonical.
    """
    columns = {name: names.get(name, name) for name in (*KEYS, *COVARIATES)}
    for column in covariate_columns(history.columns):
        role, kind, name, _ = split_column(column)
        if role == "known" and kind != "holiday":  # holidays come by themselves
            columns[column] = name
    return columns


def read_planned(
    frame: pd.DataFrame,
    names: Mapping[str, str],
    history: pd.DataFrame,
    source: Source = OF_FRAME,
    *,
    decimal: str = "",
) -> pd.DataFrame:
    """Return the planned covariates of a user's table in canonical columns.

    Args:
        frame: one row a day, or a day and series. Without a column of series, its rows are meant
            for every series. With a column KNOWN_AT, the latest row that knows a covariate counts.
        names: canonical names to the names of the user's columns.
        history: the canonical table of all series; its known covariates are looked for under the
            user's names.
        source: of the rows, for messages.
        decimal: the decimal mark of text; "" detects it.

    Raises:
        SeriesError: a column is missing, a day is repeated, or a cell cannot be read.
    """
    table, _ = convert_plans(frame, names, history, source, decimal=decimal)
    table = table.assign(**{name: np.nan for name in COVARIATES if name not in table})
    if KNOWN_AT in table:
        table = keep_latest(fill_planned(table, history))
    if "series_id" not in table:
        table = history[["series_id"]].drop_duplicates().merge(table, how="cross")
    if (repeated := table.duplicated(KEYS)).any():
        row = table[repeated].iloc[0]
        raise SeriesError(
            f"{source.name}: {row['date']:%Y-%m-%d} is there twice for series "
            f"{row['series_id']!r}; expected each day once. Drop one, or add the column of the "
            f"series, or a column {KNOWN_AT} that says since when each was known"
        )
    return table


def convert_plans(
    frame: pd.DataFrame,
    names: Mapping[str, str],
    history: pd.DataFrame,
    source: Source,
    *,
    decimal: str,
) -> tuple[pd.DataFrame, Source]:
    """Return the rows of a user's plan with their types, and a source that locates them.

    The arguments are those of `read_planned`. Columns that are no part of a plan are left out.
    """
    wanted = planned_columns(names, history)
    frame = as_frame(frame, [*wanted.values(), KNOWN_AT], source)
    present = {name: column for name, column in wanted.items() if column in frame.columns}
    covariates = [name for name in wanted if name not in KEYS]
    # Only names that the user has given, or that the history has
    used = [n for n in covariates if n in names or history[n].notna().any()]
    columns = list(source.header or frame.columns)
    if "date" not in present or not present.keys() & set(covariates):
        expected = " or ".join(repr(wanted[name]) for name in used)
        raise SeriesError(
            f"{source.name}: the columns are {columns}; expected the day, "
            f"{wanted['date']!r}, and {expected or 'a covariate that the history has'}. Rename "
            "them as in the history"
        )
    refuse_misspelt([wanted[name] for name in used], columns, names.values(), source)
    if "series_id" in names:  # without it, rows are meant for every series
        of_series = [wanted["series_id"]]
        meant = [*names.values(), *wanted.values()]
        refuse_misspelt(of_series, columns, meant, source, loosely=True)
    if KNOWN_AT in frame.columns and KNOWN_AT not in present.values():
        present[KNOWN_AT] = KNOWN_AT
    canonical = frame[list(present.values())].reset_index(drop=True)
    canonical.columns = list(present)
    source = replace(source, columns=present)
    table, source = convert_planned(canonical, source, decimal=decimal)
    if KNOWN_AT in table:
        _refuse_contradictions(table, source)
    return table, source


def _refuse_contradictions(table: pd.DataFrame, source: Source) -> None:
    """Refuse two values of a covariate on one day that were known at the same time."""
    keys = [name for name in (*KEYS, KNOWN_AT) if name in table]
    twice = table[table.duplicated(keys, keep=False)]
    if twice.empty:
        return
    groups = twice.groupby(keys)
    for name in table.columns.difference(keys):
        wrong = (groups[name].transform("nunique") > 1) & twice.duplicated(keys)
        if wrong.any():
            row = twice[wrong].iloc[0]
            of_series = f" of series {row['series_id']!r}" if "series_id" in table else ""
            raise source.error(
                f"{row['date']:%Y-%m-%d}{of_series} has another value, known at the same time "
                f"({row[KNOWN_AT]:%Y-%m-%d})",
                column=name,
                row=int(wrong.idxmax()),
                count=int(wrong.sum()),
                expected="one value of a day that was known at a time",
                remedy="Drop one, or write the time of day of each in known_at",
            )


def keep_latest(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a day, or a day and series: of each covariate what was known last.

    A blank leaves what was known before.

    >>> days = pd.to_datetime(["2024-01-05"] * 2)
    >>> known = pd.to_datetime(["2024-01-03", "2024-01-01"])
    >>> plans = pd.DataFrame({"date": days, KNOWN_AT: known, "a": [2.0, 1.0], "b": [None, 7.0]})
    >>> keep_latest(plans)[["a", "b"]].to_numpy().tolist()
    [[2.0, 7.0]]
    """
    keys = [name for name in KEYS if name in table]
    ordered = table.sort_values(KNOWN_AT, kind="stable").drop(columns=KNOWN_AT)
    return ordered.groupby(keys, sort=False, as_index=False).last()


def read_plan_file(
    path: Path,
    names: Mapping[str, str],
    history: pd.DataFrame,
    *,
    separator: str = "",
    encoding: str = "",
) -> tuple[pd.DataFrame, Source]:
    """Read a file of planned covariates, with its types, under the names of its columns.

    Args:
        path: a CSV or Parquet file.
        names: as for `read_planned`.
        history: as for `read_planned`.
        separator: between fields; "" detects it.
        encoding: of the text; "" detects it.

    Raises:
        SeriesError: the file cannot be read.
    """
    wanted = planned_columns(names, history)
    if KNOWN_AT not in wanted.values():
        wanted[KNOWN_AT] = KNOWN_AT
    frame, source = read(path, wanted, separator=separator, encoding=encoding, optional=wanted)
    frame.columns = [wanted.get(name, name) for name in frame.columns]
    return frame, replace(source, name=f"FUTURE, {source.name}")


def describe_strangers(planned: pd.Series, known: pd.Series) -> list[str]:
    """Return a sentence if planned rows are of series that the history does not know.

    Args:
        planned: names of the series of planned rows.
        known: those of the history.

    Raises:
        SeriesError: all of them are.
    """
    of_history = known.unique().tolist()
    strangers = planned[~planned.isin(of_history)].unique().tolist()
    if not strangers:
        return []
    names = list_names(strangers)
    if len(strangers) == planned.nunique():
        raise SeriesError(
            f"FUTURE: its rows are of {names}, of which the history has none; expected series of "
            f"the history: {list_names(of_history)}. Write their names as there, codes with "
            "their leading zeros"
        )
    return [f"FUTURE has rows of series that the history does not know: {names}; not used"]
