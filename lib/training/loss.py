"""The pinball loss of quantile forecasts."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.models import TINY


def pinball_loss(
    median: Tensor, offsets: Tensor, scale: Tensor, targets: Tensor, levels: Tensor
) -> Tensor:
    """Return the mean pinball loss (Koenker and Bassett 1978) in scales of each window.

    For an error e = target - quantile of level q it is max(q e, (q - 1) e). Missing targets have
    no weight, nor has a window that is all missing or all zero, because it has no scale.

    Args:
        median: (…, batch, horizon), raw units, with one leading axis of members or none.
        offsets: (…, batch, horizon, quantiles), of the quantiles from the median, in scales.
        scale: (batch,), raw units.
        targets: (batch, horizon), raw units, NaN where missing.
        levels: (quantiles,), between 0 and 1.

    Returns:
        A scalar, the mean over members, observed targets and levels.

    Examples:
        The target is 2 above the quantile of level 0.9 and 3 above the median:

        >>> median, offsets = torch.tensor([[10.0]]), torch.tensor([[[0.0, 1.0]]])
        >>> scale, targets = torch.tensor([1.0]), torch.tensor([[13.0]])
        >>> levels = torch.tensor([0.5, 0.9])
        >>> round(float(pinball_loss(median, offsets, scale, targets, levels)), 2)
        1.65
    """
    observed = torch.isfinite(targets) & (scale > 10 * TINY)[:, None]
    error = torch.where(observed, targets - median, 0.0) / scale[:, None]
    # float32 from here: the subtraction above is where precision matters
    gap = error.float()[..., None] - offsets.float()
    loss = torch.maximum(levels * gap, (levels - 1) * gap).mean(-1)  # (…, batch, horizon)
    count = observed.sum().clamp(min=1) * (loss.numel() // observed.numel())
    return torch.where(observed, loss, 0.0).sum() / count
