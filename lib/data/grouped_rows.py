"""Rows of a table of series, sorted by series and day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lib.data.source import Source


@dataclass(frozen=True)
class GroupedRows:
    """Rows of a table sorted by series and day.

    Attributes:
        codes: (N,) number of the series, an index into `ids`.
        day: (N,) int64, days since 1970.
        order: (N,) row of the file.
        values: (N,) float64, NaN where missing.
        ids: (S,) names of the series.
        source: of the rows, for messages.
    """

    codes: np.ndarray
    day: np.ndarray
    order: np.ndarray
    values: np.ndarray
    ids: list[str]
    source: Source

    @cached_property
    def starts(self) -> np.ndarray:
        """The first row of each series. (S,)."""
        return np.flatnonzero(np.diff(self.codes, prepend=-1))

    def name(self, row: int) -> str:
        """Return the series of a row, quoted for messages."""
        return repr(self.ids[self.codes[row]])

    def date(self, row: int) -> np.datetime64:
        """Return the day of a row."""
        return np.datetime64(int(self.day[row]), "D")

    def keys(self, *columns: str) -> list[str]:
        """Return names of columns in the file, after that of the series if there is one."""
        several = "series_id" in self.source.columns or len(self.ids) > 1
        return [self.source.column(name) for name in (*["series_id"] * several, *columns)]
