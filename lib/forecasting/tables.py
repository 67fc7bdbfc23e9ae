"""The tables of a forecaster: names of columns in, the tidy forecast out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.data import (
    Panel,
    closed_days_ahead,
    list_names,
)
from lib.features import describe_missing_past, describe_outside, find_young
from lib.forecasting.history import Ahead
from lib.inference import (
    ServedModel,
    describe_young,
    forecast_panel,
    mean_of_quantiles,
)

MAX_YOUNG = 3  # series that are named


def name_columns(
    known: Mapping[str, str],
    date: str | None,
    value: str | None,
    series: str | None,
    external: str | None,
    event: str | None,
) -> dict[str, str]:
    """Return canonical names to the names of the user's columns, those of `known` by default."""
    given = {
        "series_id": series,
        "date": date,
        "value": value,
        "fator_externo": external,
        "evento_especial": event,
    }
    defaults = {"date": "date", "value": "value"}
    return defaults | dict(known) | {name: column for name, column in given.items() if column}


def forecast_days(model: ServedModel, ahead: Ahead, horizon: int) -> tuple[pd.DataFrame, list[str]]:
    """Forecast, with 0 on closed days.

    Args:
        model: that forecasts.
        ahead: history and horizon of the series.
        horizon: days to return.

    Returns:
        The tidy table of `forecast_table`, and notes on series with no forecast or closed days.
    """
    origins, quantiles, notes = forecast_quantiles(model, ahead, horizon)
    return forecast_table(ahead.panel, origins, quantiles, model.contract.quantiles), notes


def forecast_quantiles(
    model: ServedModel, ahead: Ahead, horizon: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Forecast the quantiles of the series that have a forecast, with 0 on closed days.

    Args:
        model: that forecasts.
        ahead: history and horizon of the series.
        horizon: days to return.

    Returns:
        The origins (n,), the quantiles (n, horizon, levels), and notes.
    """
    panel, origins = ahead.panel, ahead.origins
    notes = describe_young_series(model, panel, origins)
    quantiles = forecast_panel(model, panel, origins)[:, :horizon]
    if model.covariates:
        notes += describe_outside(model.covariates.effects, panel, origins, horizon)
    if model.past:
        notes += describe_missing_past(model.past.effects, panel, origins)
    finite = np.isfinite(quantiles).all(axis=(1, 2))
    if not finite.all():
        names = [panel.ids[s] for s in panel.series_of(origins[~finite])]
        notes.append(f"no forecast for {list_names(names)}: too few known values")
        origins, quantiles = origins[finite], quantiles[finite]
    closed = closed_days_ahead(panel, origins, horizon)
    if closed.any():
        names = [panel.ids[s] for s in panel.series_of(origins[closed.any(axis=1)])]
        notes.append(f"closed on some weekdays, where 0 is forecast: {list_names(names)}")
        quantiles = np.where(closed[..., None], 0.0, quantiles)
    return origins, round_digits(quantiles), notes


def round_digits(values: np.ndarray, digits: int = 6) -> np.ndarray:
    """Return numbers with that many significant digits: no forecast is known to more.

    Numbers that rise still do, or are equal.

    >>> round_digits(np.array([2744.6932871, 0.012345678, 0.0])).tolist()
    [2744.69, 0.0123457, 0.0]
    """
    size = np.abs(values, where=values != 0, out=np.ones_like(values))
    with np.errstate(invalid="ignore"):
        places = digits - 1 - np.floor(np.log10(size))
    rounded = values.copy()
    for place in np.unique(places[np.isfinite(places)]).astype(int):
        at = places == place
        rounded[at] = np.round(values[at], place)
    return rounded


def means_of(quantiles: np.ndarray, levels: tuple[float, ...], floor: np.ndarray) -> np.ndarray:
    """Return the means (n, horizon) of quantiles, rounded as these are.

    Args:
        quantiles: (n, horizon, levels).
        levels: of the quantiles.
        floor: (n,) least values.
    """
    return round_digits(mean_of_quantiles(quantiles, levels, floor=floor[:, None]))


def describe_young_series(model: ServedModel, panel: Panel, origins: np.ndarray) -> list[str]:
    """Return what the forecasts of series rest on that have just begun, a sentence each."""
    young = origins[find_young(panel, origins)]
    notes = []
    for origin in young[:MAX_YOUNG]:
        number = int(panel.series_of(origin))
        values = panel.values[panel.offsets[number] : origin + 1]
        known = np.flatnonzero(np.isfinite(values))
        borrowed = model.cold_start.is_learned
        text = describe_young(len(known), len(values) - int(known[0]), borrowed=borrowed)
        notes.append(f"{panel.ids[number]!r}, {text}")
    if len(young) > MAX_YOUNG:
        notes.append(f"and {len(young) - MAX_YOUNG} other series have begun as recently")
    return notes


def least_values(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Return 0 for series without a negative value, else -inf. (n,) for n origins."""
    lowest = np.fmin.reduceat(panel.values, panel.offsets[:-1])[panel.series_of(origins)]
    return np.where(lowest >= 0, 0.0, -np.inf)


def forecast_table(
    panel: Panel, origins: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...]
) -> pd.DataFrame:
    """Return the tidy table of forecasts.

    Args:
        panel: that was forecast.
        origins: (n,) rows.
        quantiles: (n, horizon, levels), in the unit of the series.
        levels: of the quantiles.

    Returns:
        One row a series and day: series_id, date, mean and a column for each quantile.
    """
    horizon = quantiles.shape[1]
    series = panel.series_of(origins)
    floor = least_values(panel, origins)  # a series without negative values has no such mean
    days = panel.dates[origins][:, None] + np.arange(1, horizon + 1)
    table = pd.DataFrame(
        {
            "series_id": np.repeat(np.array(panel.ids, dtype=object)[series], horizon),
            "date": days.ravel().astype("datetime64[us]"),
            "mean": means_of(quantiles, levels, floor).ravel(),
        }
    ).astype({"series_id": "str"})
    for i, level in enumerate(levels):
        table[f"q{level:g}"] = quantiles[..., i].ravel()
    return table
