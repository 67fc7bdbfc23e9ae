"""The tables of a forecaster: names of columns in, the tidy forecast out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Panel
from lib.forecasting.fitting import INSTANT
from lib.inference import mean_of_quantiles


def describe_effort(effort: str) -> str:
    """Return in words what forecasts under an effort that makes a model."""
    if effort == INSTANT:
        return "the pretrained network, not trained on this data"
    return f"a network trained on this data, profile {effort}"


def name_columns(
    known: dict[str, str],
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
    return defaults | known | {name: column for name, column in given.items() if column}


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
    lowest = np.fmin.reduceat(panel.values, panel.offsets[:-1])[series]
    floor = np.where(lowest >= 0, 0.0, -np.inf)  # a series without negative values has no such mean
    days = panel.dates[origins][:, None] + np.arange(1, horizon + 1)
    table = pd.DataFrame(
        {
            "series_id": np.repeat(np.array(panel.ids, dtype=object)[series], horizon),
            "date": days.ravel().astype("datetime64[us]"),
            "mean": mean_of_quantiles(quantiles, levels, floor=floor[:, None]).ravel(),
        }
    ).astype({"series_id": "str"})
    for i, level in enumerate(levels):
        table[f"q{level:g}"] = quantiles[..., i].ravel()
    return table
