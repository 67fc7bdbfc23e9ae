"""Days ahead whose covariates lie outside what the effects were learned from."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features.covariate_bases import known_covariates
from lib.features.covariate_effects import CovariateEffects, SeriesTraits
from lib.features.windows import values_at

MARGIN = 0.1  # of the learned range, beyond which a day is far from it


def describe_outside(
    effects: CovariateEffects, panel: Panel, origins: np.ndarray, horizon: int
) -> list[str]:
    """Return a sentence for each number that is far outside its learned range on days ahead.

    Another unit, such as degrees Fahrenheit for Celsius, shows in this way. Such days count as the
    nearest value of the range.

    Args:
        effects: that forecast.
        panel: N rows.
        origins: (n,) rows.
        horizon: days ahead.
    """
    covariates = known_covariates(panel)
    numbers = [
        (k, basis)
        for k, basis in enumerate(effects.bases)
        if basis.kind == "number" and basis.name in covariates
    ]
    if not numbers or not len(origins):
        return []
    traits = SeriesTraits.measure(panel, effects.bases, np.isfinite(panel.values))
    sentences = []
    for k, basis in numbers:
        values = covariates[basis.name].values
        found = basis.transform(panel, values, traits.references[:, k])
        ahead = values_at(panel, found, origins, np.arange(1, horizon + 1))
        margin = MARGIN * (basis.high - basis.low)
        outside = int(((ahead < basis.low - margin) | (ahead > basis.high + margin)).sum())
        if outside:
            learned = "of its series" if basis.relative else f"({basis.low:g} to {basis.high:g})"
            sentences.append(
                f"{basis.name} is outside the learned range {learned} on {outside} of the "
                f"{ahead.size} days ahead, which count as the nearest value of it; is it in the "
                "same unit?"
            )
    return sentences
