"""Operations on tensors in which NaN marks a missing value. They trace to an exact ONNX graph."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_any_horizon: ContextVar[bool] = ContextVar("any_horizon", default=False)


@contextmanager
def tracing_any_horizon() -> Generator[None]:
    """Trace graphs, within the block, that forecast any number of days."""
    token = _any_horizon.set(True)
    try:
        yield
    finally:
        _any_horizon.reset(token)


def horizon_of(x: Tensor) -> int:
    """Return the days ahead of (batch, horizon, …): a constant of an exported graph, as a rule."""
    return x.shape[1] if _any_horizon.get() else int(x.shape[1])


def is_observed(x: Tensor) -> Tensor:
    """Return where `x` is not NaN, as booleans of its shape.

    One comparison, where `isfinite` would be several nodes of the exported graph.
    """
    return x == x


def mean_where(x: Tensor, mask: Tensor) -> Tensor:
    """Average the entries of the last axis where `mask` holds.

    Args:
        x: (…, n), 0 where `mask` does not hold.
        mask: (…, n), boolean.

    Returns:
        (…), 0 where no entry counts.
    """
    return x.sum(-1) / mask.sum(-1).clamp(min=1)


def mean_observed(x: Tensor) -> Tensor:
    """Average the observed entries of the last axis: (…, n) to (…), 0 where there is none.

    Examples:
        >>> mean_observed(torch.tensor([[1.0, torch.nan, 3.0], [torch.nan] * 3])).tolist()
        [2.0, 0.0]
    """
    mask = is_observed(x)
    return mean_where(torch.where(mask, x, 0.0), mask)


def median_where(x: Tensor, mask: Tensor) -> Tensor:
    """Return the median of the entries of the last axis where `mask` holds.

    Args:
        x: (…, n).
        mask: (…, n), boolean.

    Returns:
        (…), the mean of the middle two of an even number, NaN where no entry counts.
    """
    count = mask.sum(-1, keepdim=True)
    ordered = torch.where(mask, x, torch.inf).sort(-1).values
    middle_two = torch.cat([(count - 1).clamp(min=0), count], dim=-1) // 2
    middle = ordered.gather(-1, middle_two).mean(-1)
    return torch.where(count[..., 0] > 0, middle, torch.nan)


def subtract_mean(x: Tensor) -> Tensor:
    """Subtract the mean of the last axis."""
    return x - x.mean(-1, keepdim=True)


def zero_missing(x: Tensor) -> Tensor:
    """Replace NaN by 0 and keep the precision."""
    return torch.where(is_observed(x), x, 0.0)


def to_float32(x: Tensor) -> Tensor:
    """Replace NaN by 0 and convert to the precision of the network."""
    return zero_missing(x).float()


def to_bounded_float32(x: Tensor) -> Tensor:
    """Replace NaN by 0 and convert to float32, bounded so that the square is still finite."""
    return zero_missing(x).clamp(-1e15, 1e15).float()


def signed_log(x: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine of `x`, 0 for NaN.

    Linear near zero and logarithmic far out, so an outlier is visible without hiding the rest.

    Examples:
        >>> signed_log(torch.tensor([0.0, 10.0, -1e6]).double()).round(decimals=2).tolist()
        [0.0, 3.0, -14.51]
    """
    x = zero_missing(x)  # the root's gradient at NaN would be NaN
    size = torch.abs(x)  # asinh, spelled out: the ONNX exporter has no asinh
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1.0))


def take_last_days(x: Tensor, days: int) -> Tensor:
    """Return the last `days` of `x`, with missing days in front of a shorter one.

    Args:
        x: (batch, n).

    Returns:
        (batch, days), NaN before the first day of `x`.
    """
    before = torch.full_like(x[:, :1], torch.nan).expand(-1, days)
    return torch.cat([before, x], dim=1)[:, -days:]
