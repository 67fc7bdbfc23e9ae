"""The canonical series table: any file of daily series, checked, in one form.

`load` reads a user's file, `validate` takes a table from elsewhere; both return the canonical
table, which `to_panel` turns into arrays. Every error is a SeriesError that names file, column
and row, what was expected and what to do. What is unusual but usable is logged: rows that were not
sorted, names in several spellings, a constant or short series, a value a thousand times its
surroundings, a detected encoding, separator or decimal mark, dates with a time zone at the start of
the local day (which counts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import structlog

from lib.data.blank_cells import fill_blanks
from lib.data.completion import NUMBER_COLUMNS, complete_days, with_holidays
from lib.data.covariate_cells import (
    CovariateNames,
    convert_covariates,
    number_texts,
)
from lib.data.covariates import Kind
from lib.data.frequency import check_frequency
from lib.data.grouped_rows import GroupedRows
from lib.data.names import unify_names
from lib.data.numbers import check_decimal, convert_numbers, find_decimal, parse_numbers
from lib.data.panel import SERIES_COLUMNS, WINDOW_DAYS, Panel
from lib.data.parsing import convert_days
from lib.data.readers import find_days_of, read
from lib.data.series_checks import check_series
from lib.data.source import Source, as_frame, match_columns
from lib.data.validation import (
    check_cells,
    check_days,
    check_midnight,
    prepare_line,
)

KNOWN_AT = "known_at"  # column of a plan: the day, or the time, since when a row was known


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
    covariates: Sequence[str] = (),
    past_covariates: Sequence[str] = (),
    static_covariates: Sequence[str] = (),
    categorical: Sequence[str] = (),
    kinds: Mapping[str, Kind] | None = None,
    country: str = "",
    state: str = "",
    min_days: int = WINDOW_DAYS,
) -> pd.DataFrame:
    """Read a CSV or Parquet file of daily series into the canonical table.

    Args:
        path: of the file.
        date_column: name of the column of days.
        value_column: name of the column of values.
        series_column: name of the column of series; "" means `series_id` if the file has it,
            otherwise one series named "series".
        external_column: name of the external factor; "" means `fator_externo` if it is there.
        event_column: name of the special event; "" means `evento_especial` if it is there.
        decimal: the decimal mark; "" detects it, as for separator and encoding.
        separator: between the fields of a text file.
        encoding: of a text file.
        covariates: names of columns that are known for the days ahead as well.
        past_covariates: names of columns that are known up to today only.
        static_covariates: names of columns with one value a series.
        categorical: those of them that are categories though they look like numbers.
        kinds: of covariates by name, where they are known; the others tell theirs.
        country: such as "BR", or the name of a static covariate that holds such a code a series:
            its named holidays are a known covariate, and its public holidays are the events where
            there is no event column.
        state: of the country, such as "SP", or the name of a static covariate.
        min_days: observed values that one series must have, by default one window.

    Returns:
        The columns SERIES_COLUMNS, then those of covariates, named `role:kind:name`; sorted by
        series and day, every day from first to last of a series, NaN where missing or unknown.

    Raises:
        SeriesError: the file cannot be used as daily series.

    >>> import tempfile
    >>> rows = [f"2024-01-{day:02},{day % 7 + 10}" for day in (1, 2, 4)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "sales.csv"
    ...     _ = file.write_text("day,units\\n" + "\\n".join(rows))
    ...     table = load(file, date_column="day", value_column="units", min_days=3)
    >>> table["value"].tolist()
    [11.0, 12.0, nan, 14.0]
    """
    check_decimal(decimal, separator)
    names = (series_column, date_column, value_column, external_column, event_column)
    wanted = dict(zip(SERIES_COLUMNS, names, strict=True))
    wanted |= {name: wanted[name] or name for name in ("date", "value")}
    columns = CovariateNames(
        covariates, past_covariates, static_covariates, categorical, kinds or {}
    )
    wanted |= columns.wanted()
    frame, source = read(Path(path), wanted, separator=separator, encoding=encoding)
    table = _canonical_table(frame, source, columns, decimal=decimal, min_days=min_days)
    return with_holidays(table, country, state, fill_events="evento_especial" not in frame)


def validate(
    table: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    covariates: Sequence[str] = (),
    past_covariates: Sequence[str] = (),
    static_covariates: Sequence[str] = (),
    categorical: Sequence[str] = (),
    kinds: Mapping[str, Kind] | None = None,
    country: str = "",
    state: str = "",
    min_days: int = WINDOW_DAYS,
) -> pd.DataFrame:
    """Check a table as `load` checks a file, and complete its days.

    Args:
        table: `date` (days, timestamps or text), `value` and others of SERIES_COLUMNS. It is left
            as it is. Covariates that it has in canonical columns stay.
        columns: names that the table has for them, where they differ.
        covariates: as for `load`, and so are the next three.
        past_covariates: known up to today only.
        static_covariates: one value a series.
        categorical: categories though they look like numbers.
        kinds: as for `load`.
        country: as for `load`.
        state: as for `load`.
        min_days: as for `load`.

    Raises:
        SeriesError: names a row by its position, the first being 0.
    """
    source = Source("series table", is_table=True, find_days=lambda: find_days_of(table))
    names = CovariateNames(covariates, past_covariates, static_covariates, categorical, kinds or {})
    wanted = {"date": "date", "value": "value", **(columns or {}), **names.wanted()}
    table = as_frame(table, wanted.values(), source)
    matched = match_columns(list(table.columns), wanted, source)
    frame = table[list(matched.values())].reset_index(drop=True)
    frame.columns = list(matched)
    source = replace(source, columns=matched)
    canonical = _canonical_table(frame, source, names, decimal="", min_days=min_days)
    fill_events = "evento_especial" not in matched
    return with_holidays(canonical, country, state, fill_events=fill_events)


def convert_planned(
    frame: pd.DataFrame, source: Source, *, decimal: str = ""
) -> tuple[pd.DataFrame, Source]:
    """Return rows of planned days with their types, in the order of the frame, without blank ones.

    Args:
        frame: as written, under canonical names: date, perhaps series_id and KNOWN_AT, and
            covariates of known kinds.
        source: of the rows, for messages.
        decimal: the decimal mark of text; "" detects it.

    Returns:
        The same columns: days, times, numbers (NaN where blank) and categories; and a source that
        locates the rows.

    Raises:
        SeriesError: names file, column and row of the first cell that cannot be read.
    """
    frame, source = _drop_blank_rows(frame, source)
    plans = frame.drop(columns=KNOWN_AT, errors="ignore")
    table, source = _convert(plans, source, CovariateNames(), decimal, log_kinds=False)
    check_cells(table[list(SERIES_COLUMNS)], source)
    if KNOWN_AT in frame:
        known = convert_days(frame[KNOWN_AT], replace(source, columns={"date": KNOWN_AT}))
        seconds = (known.clock * 1e6).astype("timedelta64[us]")
        table[KNOWN_AT] = known.day.astype("datetime64[us]") + seconds
    return table[list(frame.columns)], source


def _canonical_table(
    frame: pd.DataFrame, source: Source, names: CovariateNames, *, decimal: str, min_days: int
) -> Panel:
    """Return the panel of columns as written, row for row those of `source`."""
    frame, source = _drop_blank_rows(frame, source)
    table, source = _convert(frame, source, names, decimal)
    check_cells(table[list(SERIES_COLUMNS)], source)
    rows = _sort_rows(table, source)
    check_days(rows)
    check_frequency(rows)
    check_series(rows, min_days)
    return fill_blanks(complete_days(table, rows))


def _drop_blank_rows(frame: pd.DataFrame, source: Source) -> tuple[pd.DataFrame, Source]:
    """Drop rows of text without any, and return a source that still locates the others."""
    if _text_columns(frame) == list(frame):  # spreadsheets leave lines of separators behind
        blank = np.logical_and.reduce([frame[name].str.strip() == "" for name in frame])
        frame = frame[~blank]
    if frame.empty:
        raise source.error(
            "there are no rows",
            expected="one row a day under the header",
            remedy="Check the export that wrote it",
        )
    rows = frame.index.to_numpy()
    located = replace(source, locate=lambda row: source.locate(int(rows[row])))
    return frame.reset_index(drop=True), located


def _text_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if isinstance(frame[name].dtype, pd.StringDtype)]


def _convert(
    frame: pd.DataFrame,
    source: Source,
    names: CovariateNames,
    decimal: str,
    *,
    log_kinds: bool = True,
) -> tuple[pd.DataFrame, Source]:
    """Return the columns with their types, and a source whose remedies can read the file."""
    text = {name: frame[name] for name in NUMBER_COLUMNS if name in _text_columns(frame)}
    text |= number_texts(frame, names)
    if text and not decimal:
        decimal = find_decimal(text, source)
        if decimal == ",":
            structlog.get_logger().info("series_decimal_comma", file=source.name)
    days = convert_days(frame["date"], source)
    check_midnight(days, "series_id" in frame, decimal, source)
    source = replace(source, preparation=prepare_line(days, decimal, source))
    table = pd.DataFrame({"series_id": _convert_names(frame, days.day, source)})
    table["date"] = days.day.astype("datetime64[us]")
    for name in NUMBER_COLUMNS:
        if name in text:
            table[name] = parse_numbers(text[name], name, decimal, source)
        else:
            table[name] = convert_numbers(frame[name], name, source) if name in frame else np.nan
    covariates = convert_covariates(frame, names, decimal, source, log_kinds=log_kinds)
    return table.assign(**covariates), source


def _convert_names(frame: pd.DataFrame, days: np.ndarray, source: Source) -> pd.Series:
    if "series_id" not in frame:
        return pd.Series("series", index=frame.index, dtype="str")
    ids = frame["series_id"]
    return unify_names(ids.astype("str").where(ids.notna(), ""), days, source)


def _sort_rows(table: pd.DataFrame, source: Source) -> GroupedRows:
    """Sort the rows by series and day; rows of the same day keep the order of the file."""
    codes, names = pd.factorize(table["series_id"], sort=True)
    day = table["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    order = np.lexsort((day, codes))
    values = table["value"].to_numpy()
    ids = [str(name) for name in names]
    return GroupedRows(codes[order], day[order], order, values[order], ids, source)
