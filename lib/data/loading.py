"""The series table: any file of daily series, checked, in one form.

`load` reads a user's file, `validate` takes a table from elsewhere; both give the canonical
table, which `to_panel` turns into arrays. Every error is a SeriesError that names file, column
and row, what was expected and what to do. Handled without an error, and told in the log: a
constant series (kept), an encoding, separator or decimal mark that was found out, dates with a
time zone at local midnight (the local day counts).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import structlog

from lib.data.panel import (
    SERIES_COLUMNS,
    WINDOW_DAYS,
    Panel,
    SeriesError,
    to_table,
)
from lib.data.parsing import Days, check_decimal, find_decimal, parse_days, parse_numbers
from lib.data.readers import Source, match_columns, read
from lib.data.validation import check_cells, check_days, check_midnight, check_series

NUMBER_COLUMNS = SERIES_COLUMNS[2:]


def load(
    path: str | Path,
    *,
    date_column: str = "date",
    value_column: str = "value",
    series_column: str = "",
    external_column: str = "",
    event_column: str = "",
    decimal: str = "",
    separator: str = "",
    encoding: str = "",
    country: str = "",
    min_days: int = WINDOW_DAYS,
) -> pd.DataFrame:
    """Read a CSV or Parquet file of daily series into the canonical table.

    "" for a column means the canonical name if the file has it, otherwise none (one series named
    "series"); "" for decimal, separator and encoding means to find out. With a `country` such as
    "BR" and no event column, public holidays are the events. The table has SERIES_COLUMNS, sorted
    by series and day, every day from first to last of a series, NaN where missing or unknown.
    `min_days` is the least number of days from first to last, one window by default.
    Raises SeriesError.
    """
    check_decimal(decimal, separator)
    own = (series_column, date_column, value_column, external_column, event_column)
    wanted = dict(zip(SERIES_COLUMNS, own, strict=True))
    wanted |= {name: wanted[name] or name for name in ("date", "value")}
    frame, source = read(Path(path), wanted, separator=separator, encoding=encoding)
    return _canonical(frame, source, decimal=decimal, country=country, min_days=min_days)


def validate(
    table: pd.DataFrame, *, country: str = "", min_days: int = WINDOW_DAYS
) -> pd.DataFrame:
    """Check a table that has canonical column names as `load` does, and complete its days.

    Needs `date` (days, timestamps or text) and `value`. Raises SeriesError naming the row by its
    position, the first being 0. The table passed in is left as it is.
    """
    source = Source("series table")
    found = match_columns(list(table.columns), {"date": "date", "value": "value"}, source)
    frame = table[list(found)].reset_index(drop=True)
    return _canonical(frame, source, decimal="", country=country, min_days=min_days)


def _canonical(
    frame: pd.DataFrame, source: Source, *, decimal: str, country: str, min_days: int
) -> pd.DataFrame:
    """The canonical table of columns as written. Row numbers in `frame` are those of `source`."""
    text = [name for name in frame if isinstance(frame[name].dtype, pd.StringDtype)]
    if text == list(frame):  # spreadsheets leave lines of separators behind
        blank = np.logical_and.reduce([frame[name].str.strip() == "" for name in text])
        frame = frame[~blank]
    if frame.empty:
        raise source.error(
            "there are no rows",
            expected="one row a day under the header",
            remedy="Check the export that wrote it",
        )
    rows = frame.index.to_numpy()  # before anything was dropped
    placed = Source(
        source.name,
        source.columns,
        lambda row: source.locate(int(rows[row])),
        source.separator,
        source.reading,
    )
    frame = frame.reset_index(drop=True)
    written = {name: frame[name] for name in NUMBER_COLUMNS if name in text}
    if written and not decimal:
        decimal = find_decimal(written, placed)
        if decimal == ",":
            structlog.get_logger().info("series_decimal_comma", file=source.name)
    days = _days(frame["date"], placed)
    check_midnight(days, "series_id" in frame, decimal, placed)
    table = pd.DataFrame({"series_id": _ids(frame)})
    table["date"] = days.day.astype("datetime64[us]")
    for name in NUMBER_COLUMNS:
        if name in written:
            table[name] = parse_numbers(written[name], name, decimal, placed)
        else:
            table[name] = _typed_numbers(frame, name, placed)
    check_cells(table, placed)
    return _complete(
        table, placed, country=country, events="evento_especial" in frame, min_days=min_days
    )


def _ids(frame: pd.DataFrame) -> pd.Series:
    if "series_id" not in frame:
        return pd.Series("series", index=frame.index, dtype="str")
    ids = frame["series_id"]
    return ids.where(ids.isna(), ids.astype("str").str.strip()).astype("str").fillna("")


def _days(column: pd.Series, source: Source) -> Days:
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        zoned = isinstance(column.dtype, pd.DatetimeTZDtype)
        local = column.dt.tz_localize(None) if zoned else column
        if local.isna().any():
            raise source.error(
                "the date is blank",
                column="date",
                row=int(local.isna().to_numpy().argmax()),
                count=int(local.isna().sum()),
                expected="a day in every row",
                remedy="Fill it in or drop the row",
            )
        day = local.dt.normalize()
        return Days(
            day.to_numpy().astype("datetime64[D]"),
            (local - day).dt.total_seconds().to_numpy(),
            zoned,
        )
    return parse_days(column.astype("str"), source)


def _typed_numbers(frame: pd.DataFrame, name: str, source: Source) -> np.ndarray:
    """A number column that is not text, or NaN where there is none. → (N,) float64."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    numbers = pd.to_numeric(frame[name], errors="coerce")
    bad = (numbers.isna() & frame[name].notna()).to_numpy()
    if frame[name].dtype.kind in "mM":  # a number of nanoseconds to pandas
        bad = frame[name].notna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise source.error(
            f"got {frame[name].iloc[row]!r}",
            column=name,
            row=row,
            count=int(bad.sum()),
            expected="a number, or nothing where it is missing",
            remedy="Correct it or leave it blank",
        )
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _complete(
    table: pd.DataFrame, source: Source, *, country: str, events: bool, min_days: int
) -> pd.DataFrame:
    """Sort by series, check the order of days, and put a row where a day is missing."""
    codes, names = pd.factorize(table["series_id"], sort=True)
    ids = [str(name) for name in names]
    day = table["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    # Within a series the order of the file is kept, so that a step back is seen.
    order = np.argsort(codes, kind="stable")
    codes, day = codes[order], day[order]
    check_days(codes, day, order, ids, source)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    first, last = day[starts], day[np.append(starts[1:], len(day)) - 1]
    lengths = last - first + 1
    check_series(table["value"].to_numpy()[order], starts, lengths, order, ids, source, min_days)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    at = offsets[codes] + day - first[codes]
    columns = {}
    for name in NUMBER_COLUMNS:
        columns[name] = np.full(offsets[-1], np.nan)
        columns[name][at] = table[name].to_numpy()[order]
    days = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
    dates = days.astype("datetime64[D]")
    if country and not events:
        columns["evento_especial"] = _public_holidays(dates, country)
    return to_table(
        Panel(
            tuple(ids),
            offsets,
            dates,
            columns["value"],
            columns["fator_externo"],
            columns["evento_especial"],
        )
    )


def _public_holidays(dates: np.ndarray, country: str) -> np.ndarray:
    """1.0 on the public holidays of a country (ISO code), else 0.0. (N,) datetime64[D] → (N,)."""
    import holidays

    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    try:
        calendar = holidays.country_holidays(country, years=range(years.min(), years.max() + 1))
    except NotImplementedError as error:
        raise SeriesError(
            f"COUNTRY: got {country!r}, expected a two-letter code such as BR or US"
        ) from error
    return np.isin(dates, np.array(list(calendar), dtype="datetime64[D]")).astype(np.float64)
