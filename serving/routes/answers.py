"""Lay out forecasts for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from flask import Response, g

from serving.schemas import FieldWarning, name_levels

if TYPE_CHECKING:
    from serving.model import SeriesForecasts, Served


NOT_STORED = "X-Not-Stored"  # header: how many forecasts of an answer could not be stored


def make_answer(
    model: Served, warnings: Sequence[FieldWarning], not_stored: int, **fields: Any
) -> Response:
    """Make the answer of a call that forecasts.

    Args:
        model: that answers.
        warnings: of the body.
        not_stored: forecasts that could not be stored.
        fields: of the answer, beside those that all of them have.
    """
    document = fields | {"trace_id": g.trace_id, "model_version": model.version}
    if warnings:
        document["warnings"] = [doubt._asdict() for doubt in warnings]
    headers = {NOT_STORED: str(not_stored)} if not_stored else None
    return Response(orjson.dumps(document), mimetype="application/json", headers=headers)


def encode_series(
    part: SeriesForecasts,
    days: int,
    known: tuple[float, ...],
    levels: list[float],
    further: Sequence[dict[str, Any]] = (),
) -> bytes:
    """Encode forecasts as the members of a JSON list, without its brackets.

    The arguments are those of `lay_out_series`.
    """
    return orjson.dumps(lay_out_series(part, days, known, levels, further))[1:-1]


def lay_out_series(
    part: SeriesForecasts,
    days: int,
    known: tuple[float, ...],
    levels: list[float],
    further: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Lay out forecasts as objects, one a series.

    Args:
        part: forecasts of some series.
        days: of each to answer.
        known: levels of the model.
        levels: those to answer.
        further: other fields of each series, or none.
    """
    dates = part.first[:, None] + np.arange(days)  # (series, days)
    quantiles = part.quantiles[:, :days]
    medians = interpolate_medians(quantiles, known)
    chosen = quantiles[:, :, [known.index(level) for level in levels]]
    names = name_levels(levels)
    return [
        {
            "series_id": series_id,
            "forecast": [
                {"date": d, "prediction": m, "quantiles": dict(zip(names, q, strict=True))}
                for d, m, q in zip(
                    dates[i].astype(str).tolist(),
                    medians[i].tolist(),
                    chosen[i].tolist(),
                    strict=True,
                )
            ],
            **(further[i] if further else {}),
        }
        for i, series_id in enumerate(part.ids)
    ]


def interpolate_medians(quantiles: np.ndarray, known: tuple[float, ...]) -> np.ndarray:
    """Return the medians of quantiles, interpolated where 0.5 is none of their levels.

    Args:
        quantiles: (..., levels), rising along the last axis.
        known: their levels, rising.

    Returns:
        (...), between the quantiles on both sides of 0.5; the outermost where all lie on one.
    """
    above = int(np.searchsorted(known, 0.5))
    if above == len(known):
        return quantiles[..., -1]
    if above == 0 or known[above] == 0.5:
        return quantiles[..., above]
    share = (0.5 - known[above - 1]) / (known[above] - known[above - 1])
    low, high = quantiles[..., above - 1], quantiles[..., above]
    return low + share * (high - low)
