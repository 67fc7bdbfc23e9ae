"""The coming days of a series table: what is planned for them, and the rows to forecast from.

Rows behind the last observed value of a series that carry a covariate are planned days. Blank rows
at its end are missing values: the forecast begins after them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data import (
    KEYS,
    add_holidays,
    covariate_columns,
    mark_holidays,
    planned_columns,
    split_calendar,
    split_column,
    to_panel,
    to_table,
)


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
    known = [name for name in planned_columns({}, history) if name in planned]
    ahead = ahead.merge(planned[known], on=KEYS, how="left")
    for name in covariate_columns(history.columns):
        if split_column(name)[0] == "static":
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


def update_planned(planned: pd.DataFrame, newer: pd.DataFrame) -> pd.DataFrame:
    """Return the planned days of both tables; where both have a number, that of `newer`."""
    merged = newer.set_index(KEYS).combine_first(planned.set_index(KEYS))
    return merged.drop(columns="value", errors="ignore").reset_index()
