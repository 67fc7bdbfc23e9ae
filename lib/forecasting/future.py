"""The coming days of a series table: what is planned for them, and the rows to forecast from.

Rows behind the last observed value of a series that carry a covariate are planned days. Blank rows
at its end are missing values: the forecast begins after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data import (
    SeriesError,
    Source,
    add_holidays,
    as_frame,
    convert_planned,
    covariate_columns,
    mark_holidays,
    refuse_misspelt,
    split_calendar,
    split_column,
    to_panel,
    to_table,
)

COVARIATES = ["fator_externo", "evento_especial"]
KEYS = ["series_id", "date"]
OF_FRAME = Source("future", is_table=True)


def append_horizon(
    history: pd.DataFrame,
    planned: pd.DataFrame,
    horizon: int,
    country: str = "",
    state: str = "",
) -> pd.DataFrame:
    """Append the days to forecast to each series, with what is planned for them.

    Args:
        history: as `lib.data.split_planned` returns it.
        planned: the same; of days that are not forecast nothing is used.
        horizon: days ahead.
        country: as for `with_holidays`.
        state: as for `with_holidays`.

    Returns:
        A canonical table; the values of the last `horizon` days of each series are missing, and so
        are past covariates.
    """
    last = history.groupby("series_id", sort=False)["date"].max()
    ahead = pd.DataFrame(
        {
            "series_id": np.repeat(last.index.to_numpy(), horizon),
            "date": np.repeat(last.to_numpy(), horizon)
            + np.tile(np.arange(1, horizon + 1), len(last)).astype("timedelta64[D]"),
        }
    ).astype({"series_id": history["series_id"].dtype, "date": history["date"].dtype})
    known = [*COVARIATES, *(name for name in _known_columns(history) if name in planned)]
    ahead = ahead.merge(planned[[*KEYS, *known]], on=KEYS, how="left")
    for name in _columns_of(history, "static"):
        of_series = history.groupby("series_id", sort=False)[name].first()
        ahead[name] = ahead["series_id"].map(of_series)
    ahead = ahead.reindex(columns=history.columns)
    ahead = ahead.astype(history.dtypes.to_dict())
    table = pd.concat([history, ahead], ignore_index=True)
    table = table.sort_values(KEYS, kind="stable", ignore_index=True)
    return with_holidays(table, country, state)


def with_holidays(table: pd.DataFrame, country: str, state: str = "") -> pd.DataFrame:
    """Return a canonical table with the named holidays of all its days.

    Args:
        table: perhaps with holidays of some of its days.
        country: as for `lib.data.load`; "" for that of the holidays that it has. Its public
            holidays are also the events, where the table has no event at all.
        state: of the country.
    """
    panel = to_panel(table)
    calendar = next((c.calendar for c in panel.covariates if c.calendar), "")
    if country:
        place = (country, state)
        if not np.isfinite(panel.event).any():
            panel = replace(panel, event=mark_holidays(panel, *place))
    elif calendar:
        place = split_calendar(calendar)
    else:
        return table
    return to_table(add_holidays(panel, *place))


def _known_columns(table: pd.DataFrame) -> list[str]:
    """Return the known covariates that are planned; holidays come by themselves."""
    return [name for name in _columns_of(table, "known") if split_column(name)[1] != "holiday"]


def _columns_of(table: pd.DataFrame, role: str) -> list[str]:
    return [n for n in covariate_columns(table.columns) if split_column(n)[0] == role]


def planned_columns(names: Mapping[str, str], history: pd.DataFrame) -> dict[str, str]:
    """Return the columns that a plan may have: canonical names to those of the user.

    Args:
        names: canonical names to the names of the user's columns.
        history: canonical.
    """
    columns = {name: names.get(name, name) for name in (*KEYS, *COVARIATES)}
    return columns | {column: split_column(column)[2] for column in _known_columns(history)}


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
            for every series.
        names: canonical names to the names of the user's columns.
        history: the canonical table of all series; its known covariates are looked for under the
            user's names.
        source: of the rows, for messages.
        decimal: the decimal mark of text; "" detects it.

    Raises:
        SeriesError: a column is missing, a day is repeated, or a cell cannot be read.
    """
    wanted = planned_columns(names, history)
    frame = as_frame(frame, wanted.values(), source)
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
    canonical = frame[list(present.values())].reset_index(drop=True)
    canonical.columns = list(present)
    table = convert_planned(canonical, replace(source, columns=present), decimal=decimal)
    if "series_id" not in table:
        table = history[["series_id"]].drop_duplicates().merge(table, how="cross")
    table = table.assign(**{name: np.nan for name in COVARIATES if name not in table})
    if (repeated := table.duplicated(KEYS)).any():
        row = table[repeated].iloc[0]
        raise SeriesError(
            f"{source.name}: {row['date']:%Y-%m-%d} is there twice for series "
            f"{row['series_id']!r}; expected each day once. Drop one, or add the column of the "
            "series"
        )
    return table


def update_planned(planned: pd.DataFrame, newer: pd.DataFrame) -> pd.DataFrame:
    """Return the planned days of both tables; where both have a number, that of `newer`."""
    merged = newer.set_index(KEYS).combine_first(planned.set_index(KEYS))
    return merged.drop(columns="value", errors="ignore").reset_index()
