"""Many daily series as contiguous arrays: the panel and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from lib.data.covariates import Covariate

SERIES_COLUMNS = ("series_id", "date", "value", "fator_externo", "evento_especial")
WINDOW_DAYS = 60  # of context
MIN_HISTORY_DAYS = 28  # of a series before a forecast of it is learned from or scored


class SeriesError(ValueError):
    """Data that cannot be used as daily series; the message says where, what and what to do."""


@dataclass(frozen=True)
class Panel:
    """Daily series one after the other; the rows of series s are `offsets[s]:offsets[s + 1]`.

    The rows of a series are consecutive days. N is the number of rows, S of series.

    Attributes:
        ids: (S,) names of the series.
        offsets: (S + 1,) int64, the first row of each series, and N.
        dates: (N,) datetime64[D].
        values: (N,) float64, in the unit of the series, NaN where missing.
        factor: (N,) float64, the external factor, NaN where unknown.
        event: (N,) float64 in [0, 1], the special event, NaN where unknown.
        covariates: what else is known of the rows, under the user's names.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    dates: np.ndarray
    values: np.ndarray
    factor: np.ndarray
    event: np.ndarray
    covariates: tuple[Covariate, ...] = ()

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids)

    def series(self, s: int) -> slice:
        """Return the rows of series number `s`, from 0. Raises IndexError outside."""
        if not 0 <= s < self.n_series:
            raise IndexError(f"series {s}: the panel has {self.n_series}, numbered from 0")
        return slice(int(self.offsets[s]), int(self.offsets[s + 1]))

    def rows_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows of some of the series, by their numbers, one series after the other."""
        return np.concatenate([np.arange(self.offsets[s], self.offsets[s + 1]) for s in numbers])

    def series_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of the series of each row. Any shape of int, the same shape back."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def first_row_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the first row of the series of each row. Any shape of int, the same back."""
        return self.offsets[self.series_of(rows)]

    def last_row_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the last row of the series of each row. Any shape of int, the same back."""
        return self.offsets[self.series_of(rows) + 1] - 1


def take_series(panel: Panel, numbers: np.ndarray) -> Panel:
    """Return the panel of some of the series, by their numbers."""
    rows = panel.rows_of(numbers)
    lengths = np.diff(panel.offsets)[numbers]
    return Panel(
        ids=tuple(panel.ids[s] for s in numbers),
        offsets=np.append(0, np.cumsum(lengths)),
        dates=panel.dates[rows],
        values=panel.values[rows],
        factor=panel.factor[rows],
        event=panel.event[rows],
        covariates=tuple(replace(c, values=c.values[rows]) for c in panel.covariates),
    )


def fingerprint(panel: Panel) -> str:
    """Return the data hash: SHA-256, in hex, of ids, offsets, dates, values and covariates.

    Equal panels have equal hashes on every machine: bytes are little-endian, every NaN is the
    same NaN and -0.0 is 0.0.
    """
    digest = hashlib.sha256(json.dumps(panel.ids).encode())
    for numbers in (panel.offsets, panel.dates.astype("datetime64[D]").astype(np.int64)):
        digest.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
    for column in (panel.values, panel.factor, panel.event):
        digest.update(_normalized_bytes(column))
    for covariate in panel.covariates:
        digest.update(json.dumps([covariate.column, covariate.labels]).encode())
        digest.update(_normalized_bytes(covariate.values))
    return digest.hexdigest()


def _normalized_bytes(column: np.ndarray) -> bytes:
    normalized = np.where(np.isnan(column), np.nan, column + 0.0)
    return np.ascontiguousarray(normalized, dtype="<f8").tobytes()
