"""What forecasts miss: covariates outside the learned range, and past ones that are unknown."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features.covariate_effects import CovariateEffects, is_another_unit
from lib.features.past_effects import LAGS, PastEffects

MARGIN = 0.1  # of the learned range, beyond which a day is far from it


def describe_outside(
    effects: CovariateEffects, panel: Panel, origins: np.ndarray, horizon: int
) -> list[str]:
    """Return a sentence for each number that is far outside its learned range on days ahead.

    Such days count as the nearest value of the range. A number that is far outside on all days
    ahead, such as degrees Fahrenheit for Celsius, counts as unknown.

    Args:
        effects: that forecast.
        panel: N rows.
        origins: (n,) rows.
        horizon: days ahead.
    """
    if not len(origins):
        return []
    sentences = []
    for k, distance in effects.apply(panel).distances_ahead(origins, horizon).items():
        outside = int((distance > MARGIN).sum())
        if not outside:
            continue
        basis = effects.bases[k]
        learned = "of its series" if basis.relative else f"({basis.low:g} to {basis.high:g})"
        strange = is_another_unit(distance).sum() * horizon
        taken = "the nearest value of it" if 2 * strange < outside else "unknown"
        sentences.append(
            f"{basis.name} is outside the learned range {learned} on {outside} of the "
            f"{distance.size} days ahead, which count as {taken}; is it in the same unit?"
        )
    return sentences


def describe_missing_past(effects: PastEffects, panel: Panel, origins: np.ndarray) -> list[str]:
    """Return a sentence for each past covariate without a value shortly before some origins.

    Args:
        effects: that forecast.
        panel: N rows.
        origins: (n,) rows.
    """
    missing = (~effects.known(panel, origins)).sum(axis=0)
    of_all = "" if panel.n_series == 1 else f" of {{}} of the {len(origins)} series"
    return [
        f"{name} has no value in the last {LAGS} days{of_all.format(count)}: what it says of the "
        "days ahead is left out, and the intervals are wider"
        for name, count in zip(effects.names, missing, strict=True)
        if count
    ]
