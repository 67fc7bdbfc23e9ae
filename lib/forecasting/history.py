"""The known and the planned days of a forecaster, and the panel that it forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lib.data import (
    Panel,
    align_covariates,
    describe_strangers,
    fill_planned,
    list_names,
    read_planned,
    split_planned,
    to_panel,
)
from lib.forecasting.future import append_horizon, update_planned, with_holidays
from lib.forecasting.known_ahead import (
    describe_known_ahead,
    describe_misplaced,
    describe_unlearned,
)


@dataclass(frozen=True)
class History:
    """What is known of the series.

    Attributes:
        known: canonical table up to the last observed value of each series.
        planned: the days behind it that carry covariates.
        columns: canonical names to the names of the user's columns.
        country: two-letter code; its public holidays are the events of data without any.
        state: of the country.
    """

    known: pd.DataFrame = field(default_factory=pd.DataFrame)
    planned: pd.DataFrame = field(default_factory=pd.DataFrame)
    columns: Mapping[str, str] = field(default_factory=dict)
    country: str = ""
    state: str = ""

    @classmethod
    def of_table(
        cls, table: pd.DataFrame, columns: Mapping[str, str], country: str, state: str = ""
    ) -> History:
        """Divide a canonical table into known and planned days."""
        return cls(*split_planned(table), columns, country, state)

    def __str__(self) -> str:
        """Return the number and the span of the series."""
        if self.known.empty:
            return "no history"
        first, last = self.known["date"].min(), self.known["date"].max()
        return f"{self.known['series_id'].nunique()} series, {first:%Y-%m-%d} to {last:%Y-%m-%d}"

    def panel(self) -> Panel:
        """Return the known days."""
        return to_panel(with_holidays(self.known, self.country, self.state))


@dataclass(frozen=True)
class Ahead:
    """Known days and horizon of the series to forecast.

    Attributes:
        panel: of both; the values of the horizon are missing.
        origins: (series,) row of the last known day of each.
        notes: on series that are left out and on covariates, a sentence each.
    """

    panel: Panel
    origins: np.ndarray
    notes: list[str]


def look_ahead(
    history: History,
    *futures: pd.DataFrame | None,
    longest: int,
    horizon: int,
    covariates: Sequence[Mapping[str, Any]] | None = None,
    include_ended: bool = False,
) -> Ahead:
    """Append the days to forecast to the known ones.

    Args:
        history: of all series.
        futures: plans as for `Forecaster.predict`; a later one goes before those ahead of it.
        longest: days that the model forecasts.
        horizon: days that are shown. A series whose last value lies more than this before the
            last of the table has ended.
        covariates: that the model has learned, by its contract; None takes those of the history.
        include_ended: whether to keep series that have ended.

    Raises:
        SeriesError: a plan cannot be used.
        RuntimeError: there is no history yet.
    """
    known, planned, notes = history.known, history.planned, []
    if known.empty:
        raise RuntimeError("there is no history to forecast from; call fit or update first")
    observed = known["date"].where(known["value"].notna())
    last = observed.groupby(known["series_id"], sort=False).transform("max")
    ended = (observed.max() - last).dt.days > horizon
    if ended.any() and not include_ended:
        names = known.loc[ended, "series_id"].unique().tolist()
        notes.append(
            f"not forecast, because their values end more than {horizon} days before "
            f"those of others: {list_names(names, 10)}"
        )
        known = known[~ended]
    for future in (plan for plan in futures if plan is not None):
        newer = read_planned(future, history.columns, known)
        notes += describe_strangers(newer["series_id"], history.known["series_id"])
        notes += describe_misplaced(newer["date"], last.min(), observed.max(), horizon)
        planned = update_planned(planned, newer)
    if len(planned):
        planned = fill_planned(planned, history.known)
    panel = to_panel(append_horizon(known, planned, longest, history.country, history.state))
    if covariates is not None:
        notes += describe_unlearned(planned, covariates)
        panel = align_covariates(panel, covariates)
    origins = panel.offsets[1:] - 1 - longest
    has_events = any(table["evento_especial"].notna().any() for table in (known, planned))
    notes += describe_known_ahead(
        panel,
        origins,
        horizon,
        history.columns,
        holidays="" if has_events else history.country,
        country=history.country,
    )
    return Ahead(panel, origins, notes)
