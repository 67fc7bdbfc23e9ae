"""Make the quantiles cover what they say, on days that no gradient has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lib.models import TINY
from lib.training.data import Data, batch_of
from lib.training.loop import Fit

BATCH = 512  # windows of one pass, which bounds memory


def calibrate(fit: Fit, data: Data, *, blocks: tuple[int, ...] = (1, 7, 14, 28)) -> Fit:
    """Widen or narrow the quantiles so that each covers what it says on the validation span.

    In the manner of CQR (Romano et al. 2019), multiplicative: per block of the horizon, each
    level's offset from the median is multiplied by the factor under which the validation targets
    fall below it as often as it says. Factors are kept rising away from the median, so quantiles
    stay ordered, and shrunk towards 1 where targets are few. No guarantee of a finite sample:
    days of a series depend on each other, and the same span has chosen the network.
    """
    model = fit.model
    config = model.config
    gaps, widths = [], []
    every = np.arange(len(data.validation.origins))
    for some in np.array_split(every, max(1, -(-len(every) // BATCH))):
        context, future, targets = batch_of(data.validation, some, config.max_context)
        with torch.no_grad():
            median, offsets, scale = model.distribution(context, future)
        unit = torch.where(scale > 10 * TINY, scale, torch.nan)  # a dead window has none
        gaps.append(((targets - median) / unit[:, None]).numpy())
        widths.append(offsets.numpy())
    gap, offsets_np = np.concatenate(gaps), np.concatenate(widths)
    spread = np.ones((config.horizon, len(config.quantiles)))
    start = 0
    for end in (*[b for b in blocks if b < config.horizon], config.horizon):
        spread[start:end] = _factors(
            gap[:, start:end], offsets_np[:, start:end], config.quantiles, model.median
        )
        start = end
    model.spread.copy_(torch.from_numpy(spread))
    return replace(fit, model=model)


def _factors(
    gap: np.ndarray, offsets: np.ndarray, levels: tuple[float, ...], median: int
) -> np.ndarray:
    """Factor by level for residuals `gap` (n, days) and offsets (n, days, levels), in scales."""
    seen = np.isfinite(gap)
    independent = seen.sum() / gap.shape[1] / 2  # windows overlap: half, by rule of thumb
    factors = np.ones(len(levels))
    if independent < 5:
        return factors
    for i, level in enumerate(levels):
        if i == median:
            continue
        ratio = gap[seen] / offsets[..., i][seen]
        tail = 1 - level if i < median else level
        side = np.quantile(ratio, tail)
        weight = independent / (independent + 30)
        factors[i] = np.clip(weight * side + (1 - weight), 0.3, 4.0)
    below = np.maximum.accumulate(factors[:median][::-1])[::-1]
    above = np.maximum.accumulate(factors[median + 1 :])
    return np.concatenate([below, [1.0], above])
