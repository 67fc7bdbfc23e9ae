"""Explain the forecast of one day of one series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Panel, SeriesError
from lib.explanation import Explainer
from lib.features import compute_features, gather_context, known_future
from lib.forecasting.model_choice import list_names
from lib.inference import ServedModel


def explain_day(
    model: ServedModel, panel: Panel, horizon: int, series: str | None, date: str | None
) -> pd.DataFrame:
    """Return the shares of the features in the median forecast of one day.

    Args:
        model: that forecasts.
        panel: history, and the days of the model's horizon behind it.
        horizon: days ahead that are forecast.
        series: its id; None for the first.
        date: the day; None for the first of the horizon.

    Raises:
        SeriesError: there is no such series or day.
    """
    origin, horizon_day, name = _locate(model, panel, horizon, series, date)
    rows = np.array([origin])
    explainer = Explainer(model, horizon_day=horizon_day)
    context = gather_context(panel, compute_features(panel), rows, model.contract.max_context)[0]
    future = known_future(panel, rows, model.contract.horizon)[0]
    shares = explainer.by_feature(context, future)
    base, forecast = explainer.base_and_output(context, future)
    day = (panel.dates[origin] + horizon_day).astype("datetime64[us]")
    table = pd.DataFrame(
        {
            "series_id": name,
            "date": day,
            "feature": list(model.contract.features),
            "share": shares,
        }
    ).sort_values("share", key=np.abs, ascending=False, kind="stable", ignore_index=True)
    table.attrs = {"base_value": base, "forecast": forecast}
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
