"""What TOTALS and TOTALS_BY say: ranges of days, and the groups of a column of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import SeriesError, read
from lib.forecasting.totals import ALL, By
from lib.inference import read_ranges
from lib.pipeline import ParameterError


def check_ranges(ranges: Sequence[str], horizon: int) -> None:
    """Raise ParameterError unless every range of days is one and lies in the horizon."""
    try:
        read_ranges(ranges, horizon, np.datetime64("2026-01-01"))
    except ValueError as error:
        raise ParameterError(f"TOTALS: {error}") from error


def read_groups(path: Path, column: str, reading: Mapping[str, str]) -> By:
    """Return the group of each series, from a column of the data that is constant in a series.

    Args:
        path: CSV or Parquet file of daily series.
        column: its name; "" for no groups, "all" for one.
        reading: how the file is read, as for `lib.data.load`.

    Raises:
        ParameterError: there is no such column, or no column of series.
        SeriesError: a series has several values, or none.
    """
    if column in ("", ALL):
        return column or None
    series = reading.get("series_column", "series_id")
    frame = _read_columns(path, [series, column], reading)
    for name in (series, column):
        if name not in frame.columns:
            raise ParameterError(
                f"TOTALS_BY: {path.name} has no column {name!r}; expected a column with one value "
                "a series, and SERIES_COLUMN beside it, or TOTALS_BY=all"
            )
    names = frame[series].astype("str").str.strip()
    values = frame[column].groupby(names, sort=False).agg(["nunique", "first"])
    if (wrong := values[values["nunique"] != 1]).size:
        name, count = wrong.index[0], int(wrong["nunique"].iloc[0])
        raise SeriesError(
            f"TOTALS_BY, column {column!r}: series {name!r} has {count} values, expected one; "
            "name a column that does not change within a series"
        )
    return values["first"].astype("str").to_dict()


def _read_columns(path: Path, names: Sequence[str], reading: Mapping[str, str]) -> pd.DataFrame:
    """Read the columns among `names` that the file has."""
    wanted = {f"static:{name}": name for name in names}
    frame, _ = read(
        path,
        wanted,
        separator=reading.get("separator", ""),
        encoding=reading.get("encoding", ""),
        optional=wanted,
    )
    frame.columns = [wanted.get(name, name) for name in frame.columns]
    return frame.mask(frame.eq(""))
