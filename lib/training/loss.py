"""The pinball loss of quantile forecasts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.models import TINY


def pinball_loss(
    median: Tensor,
    offsets: Tensor,
    scale: Tensor,
    targets: Tensor,
    levels: Tensor,
    mean: Callable[[Tensor], Tensor] = lambda count: count,
) -> Tensor:
    """Mean pinball loss in units of each window's scale; missing targets weigh nothing.

    Nor does a window that is all missing or all zero: it has no unit.

    Args:
        median: (…, batch, horizon); offsets: (…, batch, horizon, quantiles) in scales, with
            one leading axis or none: the loss is the mean over members.
        scale: (batch,); targets: (batch, horizon), NaN where missing; levels: (quantiles,).
        mean: of the count of targets over processes that share a batch.
    """
    observed = torch.isfinite(targets) & (scale > 10 * TINY)[:, None]
    error = torch.where(observed, targets - median, 0.0) / scale[:, None]
    # float32 from here: the subtraction above is where precision matters
    gap = error.float()[..., None] - offsets.float()
    loss = torch.maximum(levels * gap, (levels - 1) * gap).mean(-1)
    count = mean(observed.sum()).clamp(min=1) * (loss.numel() // observed.numel())
    return torch.where(observed, loss, 0.0).sum() / count
