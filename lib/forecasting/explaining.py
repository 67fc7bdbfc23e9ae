"""Explain the forecast of one day of one series."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.data import (
    Panel,
    SeriesError,
    list_names,
)
from lib.explanation import WORDS, Explainer
from lib.forecasting.tables import round_digits
from lib.inference import ServedModel


def explain_day(
    model: ServedModel,
    panel: Panel,
    horizon: int,
    series: str | None,
    date: str | None,
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the shares of features and covariates in the median forecast of one day.

    Args:
        model: that forecasts.
        panel: history, and the days of the model's horizon behind it.
        horizon: days ahead that are forecast.
        series: its id; None for the first.
        date: the day; None for the first of the horizon.
        names: canonical names of features to those of the user's columns.

    Raises:
        SeriesError: there is no such series or day.
    """
    origin, horizon_day, name = _locate(model, panel, horizon, series, date)
    explainer = Explainer(model, horizon_day=horizon_day)
    case = explainer.case(panel, origin)
    shares = explainer.shares_of(case)
    base, forecast = explainer.ends_of(case)
    day = (panel.dates[origin] + horizon_day).astype("datetime64[us]")
    columns = names or {}
    table = pd.DataFrame(
        {
            "series_id": name,
            "date": day,
            "feature": (features := [columns.get(player, player) for player in shares]),
            "meaning": [WORDS.get(name, name) for name in features],
            "share": list(shares.values()),
        }
    ).sort_values("share", key=np.abs, ascending=False, kind="stable", ignore_index=True)
    # As `predict` has it
    forecast = float(round_digits(np.array([forecast]))[0])
    table.attrs = {"base_value": base, "forecast": forecast, "base_of_series": case.of_series}
    return table


def _locate(
    model: ServedModel, panel: Panel, horizon: int, series: str | None, date: str | None
) -> tuple[int, int, str]:
    """Return the origin, the day ahead (from 1) and the name of the series."""
    name = series or panel.ids[0]
    if name not in panel.ids:
        raise SeriesError(f"series: expected one of {list_names(list(panel.ids))}, got {name!r}")
    span = panel.series(panel.ids.index(name))
    last = span.stop - 1 - model.contract.horizon  # row of the last observed value
    if date is None:
        return last, 1, name
    try:
        day = np.datetime64(str(pd.Timestamp(date).date()), "D")
    except ValueError as error:
        raise SeriesError(f"date: expected YYYY-MM-DD, got {date!r}") from error
    first, end = panel.dates[span.start] + 1, panel.dates[last] + horizon
    if not first <= day <= end:
        raise SeriesError(f"date: expected a day from {first} to {end}, got {day}")
    ahead = int((day - panel.dates[last]).astype(int))
    if ahead >= 1:
        return last, ahead, name
    return last + ahead - 1, 1, name
