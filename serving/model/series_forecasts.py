"""Forecast the series of a `/forecast`, a part at a time, which bounds memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib.features import describe_missing_past, describe_outside
from lib.inference import ServedModel, forecast_panel, mean_of_quantiles
from serving.schemas import Series, join_series, last_features

BATCH = 64  # series computed at a time


@dataclass(frozen=True)
class SeriesForecasts:
    """Forecasts of up to BATCH series.

    Attributes:
        ids: names of the series.
        first: (series,) datetime64[D], the first forecast day of each.
        quantiles: (series, horizon, levels of the model), raw units.
        means: (series, horizon), the expected values.
        features: (series, 11) of the last known day.
        covariates: of that day, by name, of each series.
        recent: of the last days up to that one, by name, of each series.
        doubts: about the covariates that were sent, a sentence each.
    """

    ids: tuple[str, ...]
    first: np.ndarray
    quantiles: np.ndarray
    means: np.ndarray
    features: np.ndarray
    covariates: tuple[Mapping[str, float | str | None], ...]
    recent: tuple[Mapping[str, Sequence[float | str | None]], ...]
    doubts: tuple[str, ...] = ()


def forecast_series(
    forecaster: ServedModel, series: Sequence[Series], context: int
) -> Iterator[SeriesForecasts]:
    """Yield the forecasts of series, part by part, in their order.

    Args:
        forecaster: the model.
        series: checked series.
        context: days that the model looks at.
    """
    for start in range(0, len(series), BATCH):
        part = series[start : start + BATCH]
        histories = join_series(part, forecaster.contract)
        panel, origins = histories.panel, histories.origins
        quantiles = forecast_panel(forecaster, panel, origins, context=context, batch=BATCH)
        quantiles[histories.closed_ahead(quantiles.shape[1])] = 0.0
        # Of a series without negative values nothing below 0 is expected.
        lowest = np.fmin.reduceat(panel.values, panel.offsets[:-1])
        floor = np.where(lowest >= 0, 0.0, -np.inf)[:, None]
        means = mean_of_quantiles(quantiles, forecaster.contract.quantiles, floor=floor)
        first = panel.dates[origins] + 1
        doubts: tuple[str, ...] = ()
        if forecaster.covariates:
            effects = forecaster.covariates.effects
            doubts = tuple(describe_outside(effects, panel, origins, quantiles.shape[1]))
        if forecaster.past:
            doubts += tuple(describe_missing_past(forecaster.past.effects, panel, origins))
        features = last_features(histories)
        covariates = tuple(one.last_day for one in part)
        recent = tuple(one.recent for one in part)
        yield SeriesForecasts(
            panel.ids, first, quantiles, means, features, covariates, recent, doubts
        )
