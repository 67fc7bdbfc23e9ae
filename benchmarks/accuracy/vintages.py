"""What a forecast of a covariate is worth, beside what came true of it and nothing.

Two shops follow a temperature, of which forecasts of 14 days are made every day; their error grows
with the days ahead. The pretrained network is judged with what came true, with what was known at
each cutoff, and without the column. `python -m benchmarks.accuracy.vintages`.
"""

from __future__ import annotations

import logging
import sys

import numpy as np
import pandas as pd
import structlog

from lib import Forecaster

DAYS, HORIZON, SEEDS = 730, 14, 6
ERROR = 3.0  # degrees, of the forecast for the last day of the horizon
EFFECT = 0.04  # of a degree on the logarithm of the sales
SCORES = ["mase", "wql", "coverage_80"]
DATE = pd.date_range("2023-01-01", periods=DAYS, name="date")


def make_weather(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the temperature, its deviation from the season, both (days,), and its forecasts.

    The forecasts are (days, HORIZON): of each day, made 1 to HORIZON days before.
    """
    t = np.arange(DAYS)
    deviation = np.zeros(DAYS)
    for day in range(1, DAYS):
        deviation[day] = 0.7 * deviation[day - 1] + rng.normal(0, 3)
    temp = 15 + 8 * np.sin(2 * np.pi * t / 365) + deviation
    spread = ERROR * np.sqrt(np.arange(1, HORIZON + 1) / HORIZON)
    return temp, deviation, temp[:, None] + rng.normal(0, 1, (DAYS, HORIZON)) * spread


def make_sales(rng: np.random.Generator, deviation: np.ndarray) -> pd.DataFrame:
    """Return the sales of two shops, which have a week and follow the weather."""
    usual = 100 * (1 + 0.2 * np.sin(2 * np.pi * np.arange(DAYS) / 7)) * np.exp(EFFECT * deviation)
    values = {shop: usual * np.exp(rng.normal(0, 0.05, DAYS)) for shop in ("north", "south")}
    return pd.DataFrame(values, DATE).melt(var_name="shop", ignore_index=False).reset_index()


def judge(sales: pd.DataFrame, temp: np.ndarray | None, plans: pd.DataFrame | None) -> pd.Series:
    """Return our scores with a temperature in the history, and perhaps plans of the days ahead."""
    covariates = [] if temp is None else ["temp"]
    table = sales if temp is None else sales.assign(temp=np.tile(temp, 2))
    scores = Forecaster(horizon=HORIZON).backtest(
        table,
        cutoffs=10,
        step=HORIZON,
        effort="instant",
        future=plans,
        series="shop",
        covariates=covariates,
    )
    return scores.loc[0, SCORES]


def judge_all(seed: int) -> pd.DataFrame:
    """Return the scores of each way to know the temperature ahead, of one pair of shops."""
    rng = np.random.default_rng(seed)
    temp, deviation, forecasts = make_weather(rng)
    sales = make_sales(rng, deviation)
    first = HORIZON  # day that has all its forecasts
    plans = pd.concat(
        pd.DataFrame(
            {"temp": forecasts[first:, h - 1], "known_at": DATE[first:] - h * DATE.freq}
        ).assign(date=DATE[first:])
        for h in range(1, HORIZON + 1)
    )
    ways = {
        "came true": (temp, None),
        "forecast then": (temp, plans),
        "forecast then; history: forecast a week before": (forecasts[:, 6], plans),
        "no such column": (None, None),
    }
    return pd.DataFrame({name: judge(sales, *way) for name, way in ways.items()}).T


def main() -> None:
    """Print the mean scores of SEEDS pairs of shops."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    scores = [judge_all(seed).astype("float64") for seed in range(SEEDS)]
    mean = sum(scores[1:], start=scores[0]) / len(scores)
    sys.stdout.write(mean.round(3).to_string() + "\n")


if __name__ == "__main__":
    main()
