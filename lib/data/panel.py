"""Many daily series as contiguous arrays: the panel, its table, its fingerprint and its spans."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

SERIES_COLUMNS = ("series_id", "date", "value", "fator_externo", "evento_especial")
WINDOW_DAYS = 60  # of context
MIN_HISTORY_DAYS = 28  # of a series before what is learned from it


class SeriesError(ValueError):
    """Data that cannot be used as daily series; the message says where, what and what to do."""


@dataclass(frozen=True)
class Panel:
    """Series one after the other; the rows of series s are `offsets[s]:offsets[s + 1]`.

    The rows of a series are consecutive days. N is the number of rows, S of series.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray  # (S + 1,) int64
    dates: np.ndarray  # (N,) datetime64[D]
    values: np.ndarray  # (N,) float64, unit of the series, NaN where missing
    factor: np.ndarray  # (N,) float64, NaN where unknown
    event: np.ndarray  # (N,) float64 in [0, 1], NaN where unknown

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids)

    def series(self, s: int) -> slice:
        """Rows of series number `s` (0 …). Raises IndexError outside."""
        if not 0 <= s < self.n_series:
            raise IndexError(f"series {s}: the panel has {self.n_series}, numbered from 0")
        return slice(int(self.offsets[s]), int(self.offsets[s + 1]))


def to_panel(table: pd.DataFrame) -> Panel:
    """The panel of a canonical series table (as `lib.data.loading.load` and `validate` return it).

    Raises SeriesError if a column is missing, a series is in two places or a day is left out.
    """
    missing = [name for name in SERIES_COLUMNS if name not in table.columns]
    if missing:
        raise SeriesError(
            f"series table: columns {missing} are missing, expected {list(SERIES_COLUMNS)}; "
            "pass the table through lib.data.loading.validate first"
        )
    codes, ids = pd.factorize(table["series_id"])
    dates = table["date"].to_numpy().astype("datetime64[D]")
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    if len(starts) != len(ids):
        row = int(starts[np.flatnonzero(np.diff(codes[starts]) < 0)[0] + 1])
        raise SeriesError(
            f"series table: row {row} goes back to series {ids[codes[row]]!r}, expected the rows "
            "of each series together; pass the table through lib.data.loading.validate first"
        )
    steps = np.diff(dates.astype(np.int64))
    steps[starts[1:] - 1] = 1
    if (steps != 1).any():
        row = int(np.flatnonzero(steps != 1)[0]) + 1
        raise SeriesError(
            f"series table: row {row}, column 'date': {dates[row]} follows {dates[row - 1]} in "
            f"series {ids[codes[row]]!r}, expected consecutive days; pass the table through "
            "lib.data.loading.validate, which adds missing days"
        )
    value, factor, event = (table[name].to_numpy(np.float64) for name in SERIES_COLUMNS[2:])
    return Panel(
        ids=tuple(str(name) for name in ids),
        offsets=np.append(starts, len(table)).astype(np.int64),
        dates=dates,
        values=np.ascontiguousarray(value),
        factor=np.ascontiguousarray(factor),
        event=np.ascontiguousarray(event),
    )


def to_table(panel: Panel) -> pd.DataFrame:
    """The canonical series table of a panel, N rows with the columns SERIES_COLUMNS."""
    lengths = np.diff(panel.offsets)
    names = pd.Series(list(panel.ids), dtype="str")
    return pd.DataFrame(
        {
            "series_id": names.take(np.repeat(np.arange(panel.n_series), lengths)).array,
            "date": panel.dates.astype("datetime64[us]"),
            "value": panel.values,
            "fator_externo": panel.factor,
            "evento_especial": panel.event,
        }
    )


def fingerprint(panel: Panel) -> str:
    """The data hash: SHA-256, in hex, of ids, offsets, dates, values, factor and event.

    Equal panels have equal hashes on every machine: bytes are little-endian, every NaN is the
    same NaN and -0.0 is 0.0.
    """
    digest = hashlib.sha256(json.dumps(panel.ids).encode())
    for whole in (panel.offsets, panel.dates.astype("datetime64[D]").astype(np.int64)):
        digest.update(np.ascontiguousarray(whole, dtype="<i8").tobytes())
    for column in (panel.values, panel.factor, panel.event):
        same = np.where(np.isnan(column), np.nan, column + 0.0)
        digest.update(np.ascontiguousarray(same, dtype="<f8").tobytes())
    return digest.hexdigest()
