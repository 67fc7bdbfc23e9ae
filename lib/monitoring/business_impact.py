"""Business impact: what forecasts cost and earn, by the prices of the settings.

With y the actual, f the median forecast and n the seasonal naive one, over all scored days:

    cost          = Σ cost_over · max(f - y, 0) + cost_under · max(y - f, 0)
    revenue       = revenue_per_accurate · number of days with |f - y| ≤ tolerance · |y|
    saving        = inventory_saving · (cost of n - cost of f)    over the days n is known
    total         = revenue + saving - cost
    per_unit      = total / Σ |y|
    roi           = total / cost

The saving is the part of the difference to planning by last week's figures that becomes stock not
held; it is negative where the model is worse. Money is in the currency of the prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.monitoring.results import Result

# Least return on the cost of errors that deserves a grade; below the last it is F.
GRADES = ((1.0, "A"), (0.5, "B"), (0.0, "C"), (-0.5, "D"))


@dataclass(frozen=True)
class Prices:
    """Money per unit of the series, but for the two shares and the revenue per day."""

    cost_over: float = 1.0  # a unit forecast and not wanted
    cost_under: float = 2.0  # a unit wanted that was not forecast
    revenue_per_accurate: float = 10.0  # a day of a series within the tolerance
    tolerance: float = 0.10  # share of the actual
    inventory_saving: float = 0.25  # share of the avoided cost that is really saved


@dataclass(frozen=True)
class BusinessImpact(Result):
    """Money and volumes of a window of days. Volumes in units of the series.

    `forecasts` and `accurate` count the days that were scored: of a sample those in it.
    """

    first: str
    last: str
    forecasts: int
    volume: float
    forecast_volume: float
    over_volume: float
    under_volume: float
    cost_over: float
    cost_under: float
    cost: float
    accurate: int
    accurate_share: float
    revenue: float
    saving: float
    total: float
    per_unit: float
    roi: float
    grade: str


def compute_business_impact(
    forecasts: pd.DataFrame,
    prices: Prices | None = None,
    *,
    first: np.datetime64,
    last: np.datetime64,
    share: float = 1.0,
) -> BusinessImpact:
    """Price the forecasts of the target days `first` to `last`. Pure.

    The formulas are those of this module. Each day of a series counts once, by the last forecast
    of it (the shortest horizon): that is what was acted on.

    Args:
        forecasts: rows of `join_actuals`.
        prices: money per unit.
        first: first target day.
        last: last target day.
        share: part of all forecasts that these are, where they are a sample; money and volumes are
            those of all.
    """
    prices = prices or Prices()
    date = forecasts["date"].to_numpy().astype("datetime64[D]")
    chosen = forecasts[(date >= first) & (date <= last) & np.isfinite(forecasts["actual"])]
    # without a series each forecast is about a day of its own
    keys = ["series_id", "date", *(["trace_id"] if "trace_id" in chosen else [])]
    chosen = chosen.sort_values("horizon", kind="stable").drop_duplicates(keys)
    actual, point = chosen["actual"].to_numpy(), chosen["q0.5"].to_numpy()
    naive = chosen["naive"].to_numpy()
    over, under = (side.sum() / share for side in _sides(point - actual))
    known = np.isfinite(naive)
    ours = _cost(point - actual, prices)
    accurate = int((np.abs(point - actual) <= prices.tolerance * np.abs(actual)).sum())
    volume = float(np.abs(actual).sum() / share)
    cost_over, cost_under = prices.cost_over * over, prices.cost_under * under
    cost = float(cost_over + cost_under)
    revenue = prices.revenue_per_accurate * accurate / share
    avoided = float((_cost(naive - actual, prices) - ours)[known].sum() / share)
    saving = prices.inventory_saving * avoided
    total = revenue + saving - cost
    roi = total / cost if cost > 0 else np.nan
    return BusinessImpact(
        first=str(first),
        last=str(last),
        forecasts=len(chosen),
        volume=volume,
        forecast_volume=float(np.abs(point).sum() / share),
        over_volume=float(over),
        under_volume=float(under),
        cost_over=float(cost_over),
        cost_under=float(cost_under),
        cost=cost,
        accurate=accurate,
        accurate_share=accurate / len(chosen) if len(chosen) else np.nan,
        revenue=revenue,
        saving=saving,
        total=total,
        per_unit=total / volume if volume > 0 else np.nan,
        roi=roi,
        grade=grade_of(roi, total, len(chosen)),
    )


def grade_of(roi: float, total: float, forecasts: int) -> str:
    """Return A to F by the return on the cost of errors; "" without forecasts.

    >>> grade_of(roi=0.6, total=10.0, forecasts=5)
    'B'
    """
    if not forecasts:
        return ""
    if not np.isfinite(roi):
        return "A" if total >= 0 else "F"
    return next((grade for least, grade in GRADES if roi >= least), "F")


def _sides(error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(error, 0.0), np.maximum(-error, 0.0)


def _cost(error: np.ndarray, prices: Prices) -> np.ndarray:
    over, under = _sides(error)
    return prices.cost_over * over + prices.cost_under * under
