"""What is known of the values of one series, applied to quantiles that one graph gives for all."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features import values_at
from lib.inference.artifact import NONNEGATIVE_SERIES, SERIES_SPREAD, Contract

LOOK_BACK_DAYS = 182
INTERMITTENT = 0.3  # share of zeros from which demand is intermittent


def apply_spread(
    contract: Contract, panel: Panel, origins: np.ndarray, quantiles: np.ndarray
) -> np.ndarray:
    """Widen or narrow the quantiles of each series about their median, as it was calibrated.

    The graph has the factors of all series together. A series that the contract does not name
    keeps those, and so does a window without a series.

    Args:
        contract: of the model.
        panel: that was forecast.
        origins: (n,) rows.
        quantiles: (n, horizon, levels), raw units.

    Returns:
        The same shape.
    """
    factors = contract.settings.get(SERIES_SPREAD, {})
    if not factors:
        return quantiles
    by_series = np.array([factors.get(name, 1.0) for name in panel.ids])
    factor = by_series[panel.series_of(origins)][:, None, None]
    middle = contract.quantiles.index(0.5)
    median = quantiles[..., middle : middle + 1]
    spread = median + (quantiles - median) * factor
    floor = contract.scaling.get("floor")
    return spread if floor is None else np.maximum(spread, floor)


def apply_floors(
    contract: Contract, panel: Panel, origins: np.ndarray, quantiles: np.ndarray
) -> np.ndarray:
    """Keep quantiles at zero or above for the series that are never negative.

    The graph has one floor for all series, so none where a single series went below zero. The
    contract then names the others; a series that it does not name, or that has become negative
    since, has no floor.

    Args:
        contract: of the model.
        panel: that was forecast.
        origins: (n,) rows.
        quantiles: (n, horizon, levels), raw units.

    Returns:
        The same shape.
    """
    names = contract.settings.get(NONNEGATIVE_SERIES, ())
    if not names:
        return quantiles
    known = set(names)
    floored = np.array([name in known for name in panel.ids])[panel.series_of(origins)]
    negative = np.append(0, np.cumsum(panel.values < 0))
    floored &= negative[origins + 1] == negative[panel.first_row_of(origins)]
    return np.where(floored[:, None, None], np.maximum(quantiles, 0.0), quantiles)


def cover_zeros(
    contract: Contract, panel: Panel, origins: np.ndarray, quantiles: np.ndarray
) -> np.ndarray:
    """Put low quantiles of intermittent demand at zero where they are next to it.

    A value between zero and the smallest sale does not occur, and a lower quantile just above zero
    would leave all zeros outside its interval. Below the median, a quantile under half the
    smallest sale of the last half year becomes zero. Series with fewer zeros than INTERMITTENT, or
    with a negative value, are left as they are.

    Args:
        contract: of the model.
        panel: that was forecast.
        origins: (n,) rows.
        quantiles: (n, horizon, levels), raw units.

    Returns:
        The same shape.
    """
    history = values_at(panel, panel.values, origins, np.arange(1 - LOOK_BACK_DAYS, 1))
    observed = np.isfinite(history).sum(axis=1)
    zeros = (history == 0).sum(axis=1)
    smallest = np.where(history > 0, history, np.inf).min(axis=1)
    intermittent = (zeros >= INTERMITTENT * observed) & np.isfinite(smallest)
    intermittent &= ~(history < 0).any(axis=1)
    if not intermittent.any():
        return quantiles
    below = np.array(contract.quantiles) < 0.5
    near = quantiles < smallest[:, None, None] / 2
    return np.where(intermittent[:, None, None] & below & near, 0.0, quantiles)
