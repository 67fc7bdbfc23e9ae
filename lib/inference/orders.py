"""How much to order for a lead time: from sample paths of its demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Order:
    """An order, and what to expect of it over the lead time. All in the unit of the series.

    Attributes:
        quantity: to order.
        available: stock and order together.
        service_level: wanted probability that `available` covers the demand.
        covers: probability that it does, by the paths.
        expected_demand: mean demand.
        expected_shortage: mean demand that is not served.
        expected_leftover: mean stock that is left.
    """

    quantity: float
    available: float
    service_level: float
    covers: float
    expected_demand: float
    expected_shortage: float
    expected_leftover: float


def choose_order(
    demand: np.ndarray,
    *,
    mean: float | None = None,
    stock: float = 0.0,
    service_level: float | None = None,
    cost_over: float | None = None,
    cost_under: float | None = None,
) -> Order:
    """Choose the quantity that covers the demand of a lead time with a wanted probability.

    The quantity is max(0, Q(p) - stock), where Q(p) is the quantile of the demand at the service
    level p. With the costs of a unit too much (o) and of a unit too little (u), the expected cost
    is least at p = u / (u + o): the newsvendor's critical ratio (Arrow, Harris & Marschak 1951,
    "Optimal inventory policy").

    Args:
        demand: (n,) sample paths of the demand over the lead time.
        mean: of the demand, where it is known better than by the paths: a total has a mean that
            does not depend on chance.
        stock: at hand or on its way, in the unit of the series.
        service_level: p, above 0 and below 1; or else both costs.
        cost_over: of a unit that is left, above 0.
        cost_under: of a unit that is missing, above 0.

    Raises:
        ValueError: not either a service level or both costs, or one is out of range.

    >>> demand = np.arange(1.0, 101.0)
    >>> order = choose_order(demand, stock=20, service_level=0.9)
    >>> round(order.quantity, 1), round(order.expected_shortage, 2)
    (70.1, 0.54)
    >>> choose_order(demand, cost_over=1, cost_under=3).service_level
    0.75
    """
    level = _service_level(service_level, cost_over, cost_under)
    if not np.isfinite(stock):
        raise ValueError(f"stock: expected a number, got {stock}")
    quantity = max(0.0, float(np.quantile(demand, level)) - stock)
    available = stock + quantity
    expected = float(demand.mean()) if mean is None else mean
    shortage = float(np.maximum(demand - available, 0).mean())
    return Order(
        quantity=quantity,
        available=available,
        service_level=level,
        covers=float(np.mean(demand <= available)),
        expected_demand=expected,
        expected_shortage=shortage,
        # max(a - d, 0) = a - d + max(d - a, 0)
        expected_leftover=max(0.0, available - expected + shortage),
    )


def _service_level(level: float | None, over: float | None, under: float | None) -> float:
    if (level is None) == (over is None and under is None):
        raise ValueError(
            "service_level: expected either a service level or cost_over and cost_under"
        )
    if level is None:
        for name, cost in (("cost_over", over), ("cost_under", under)):
            if cost is None or not 0 < cost < np.inf:
                raise ValueError(f"{name}: expected a number above 0, got {cost}")
        level = under / (under + over)  # ty: ignore[unsupported-operator]
    if not 0 < level < 1:
        raise ValueError(f"service_level: expected above 0 and below 1, got {level}")
    return level
