"""Lay out forecasts for JSON."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from flask import Response, g

from lib.inference import PRETRAINED_VERSION
from serving.model import PRETRAINED
from serving.schemas import FieldWarning, name_levels

if TYPE_CHECKING:
    from serving.model import SeriesForecasts, Served


UNTRAINED = "no model has been trained yet: this is the pretrained network"
UNCALIBRATED = f"{UNTRAINED}, and its intervals are not calibrated on your data"
_ROLES = {"known": "known ahead", "past": "known up to today", "static": "of the series"}
NOT_STORED = "X-Not-Stored"  # header: how many forecasts of an answer could not be stored


@dataclass(frozen=True)
class Answer:
    """The answer of a call that forecasts.

    Attributes:
        fields: of its document, beside those that all answers have.
        warnings: of the body.
        not_stored: forecasts that could not be stored.
    """

    fields: dict[str, Any]
    warnings: Sequence[FieldWarning] = ()
    not_stored: int = 0

    def encode(self, trace_id: str, version: int) -> bytes:
        """Return the document as JSON, with what all answers have."""
        document = self.fields | {"trace_id": trace_id, "model_version": version}
        if self.warnings:
            document["warnings"] = [doubt._asdict() for doubt in self.warnings]
        return orjson.dumps(document)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that only some answers have."""
        return [(NOT_STORED, str(self.not_stored))] if self.not_stored else []


def name_source(model: Served) -> dict[str, str]:
    """Return the fields that say what answers where it is no registered version."""
    return {"source": PRETRAINED} if model.version == PRETRAINED_VERSION else {}


def warn_of_source(
    model: Served, field: str, sent: Sequence[Mapping[str, Any]] | None = None
) -> list[FieldWarning]:
    """Say that a forecast is of the pretrained network, if it is.

    Args:
        model: that answers.
        field: of the body.
        sent: covariates of the series that it was calibrated on; None where it was not.
    """
    if model.version != PRETRAINED_VERSION:
        return []
    if sent is None:
        return [FieldWarning(field, UNCALIBRATED)]
    known = ", ".join(f"{item['name']} ({item['kind']}, {_ROLES[item['role']]})" for item in sent)
    told = f"; covariates: {known}" if known else ""
    return [FieldWarning(field, f"{UNTRAINED}, calibrated on the series of this call{told}")]


def make_response(model: Served, answer: Answer) -> Response:
    """Make the response of a call that forecasts."""
    text = answer.encode(g.trace_id, model.version)
    return Response(text, mimetype="application/json", headers=answer.headers())


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
    quantiles = part.quantiles[:, :days]
    medians = interpolate_medians(quantiles, known)
    chosen = quantiles[:, :, [known.index(level) for level in levels]]
    names = name_levels(levels)
    return [
        {
            "series_id": series_id,
            "forecast": [
                {
                    "date": day,
                    "prediction": median,
                    "mean": mean,
                    "quantiles": dict(zip(names, q, strict=True)),
                }
                for day, median, mean, q in zip(
                    _days_from(part.first[i], days),
                    medians[i].tolist(),
                    part.means[i, :days].tolist(),
                    chosen[i].tolist(),
                    strict=True,
                )
            ],
            **(further[i] if further else {}),
        }
        for i, series_id in enumerate(part.ids)
    ]


# The series of a call mostly end on the same day.
@lru_cache(maxsize=64)
def _days_from(first: np.datetime64, days: int) -> tuple[str, ...]:
    """Return ISO days from a first one on."""
    return tuple((first + np.arange(days)).astype(str).tolist())


def interpolate_medians(quantiles: np.ndarray, known: tuple[float, ...]) -> np.ndarray:
    """Return the medians of quantiles, interpolated where 0.5 is none of their levels.

    Args:
        quantiles: (..., levels), rising along the last axis.
        known: their levels, rising.

    Returns:
        (...), between the quantiles on both sides of 0.5; the outermost where all lie on one.
    """
    above = bisect_left(known, 0.5)
    if above == len(known):
        return quantiles[..., -1]
    if above == 0 or known[above] == 0.5:
        return quantiles[..., above]
    share = (0.5 - known[above - 1]) / (known[above] - known[above - 1])
    low, high = quantiles[..., above - 1], quantiles[..., above]
    return low + share * (high - low)
