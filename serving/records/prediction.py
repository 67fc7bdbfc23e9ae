"""One forecast of one series, as it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lib.storage import utcnow
from serving.records.bodies import pack_body

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Prediction:
    """One forecast of one series.

    Attributes:
        trace_id: of the request.
        model_version: that answered.
        levels: of the quantiles, rising.
        quantiles: (days, quantiles) in raw units, nested lists or an array.
        body: of `/predict`: its window (days, 11), or JSON.
        series_id: of `/forecast`.
        first_date: the first forecast day of `/forecast`.
        features: (11,) of the last known day, NaN where missing.
        covariates: of that day, by name, None where missing; None for a model without any.
        recent: covariates, factor and event of the last days up to that one, by name, the oldest
            first; None where nothing is known of them.
        created_at: now.
    """

    trace_id: str
    model_version: int
    levels: Sequence[float]
    quantiles: Any
    body: np.ndarray | bytes | None = None
    series_id: str | None = None
    first_date: date | None = None
    features: np.ndarray | None = None
    covariates: Mapping[str, float | str | None] | None = None
    recent: Mapping[str, Sequence[float | str | None]] | None = None
    created_at: datetime = field(default_factory=utcnow)

    def size(self) -> int:
        """Estimate the bytes it holds."""
        body = self.body
        held = 0 if body is None else len(body) if isinstance(body, bytes) else body.nbytes
        covariates = 200 * len(self.covariates or ())
        covariates += 40 * sum(map(len, (self.recent or {}).values()))
        return 500 + held + covariates + 32 * len(self.quantiles) * len(self.levels)

    def row(self) -> dict[str, Any]:
        """Return its row of the table of predictions."""
        quantiles = self.quantiles
        if hasattr(quantiles, "tolist"):
            quantiles = quantiles.tolist()
        first = self.first_date
        return {
            "trace_id": self.trace_id,
            "created_at": self.created_at,
            "model_version": self.model_version,
            "series_id": self.series_id,
            "first_date": first,
            "last_date": first and first + timedelta(days=len(quantiles) - 1),
            "levels": list(self.levels),
            "quantiles": quantiles,
            "body": None if self.body is None else pack_body(self.body),
            "features": None if self.features is None else _null_where_missing(self.features),
            "covariates": None if self.covariates is None else dict(self.covariates),
            "recent": None if self.recent is None else dict(self.recent),
        }


def _null_where_missing(features: np.ndarray) -> list[float | None]:
    # NaN is no JSON, and PostgreSQL refuses it.
    return [x if math.isfinite(x) else None for x in features.tolist()]
