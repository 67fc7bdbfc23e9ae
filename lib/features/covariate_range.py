"""Days ahead whose covariates lie outside what the effects were learned from."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features.covariate_effects import CovariateEffects, is_another_unit

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
