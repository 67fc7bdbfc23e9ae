"""Files of series: CSV text in any usual encoding, separator and spelling, or Parquet.

The frames returned here have the columns of the series table under their canonical names, still as
written: text from CSV, the types of the file from Parquet. `lib.data.loading` checks and converts
them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import structlog

from lib.data.encoding import decode
from lib.data.panel import SeriesError
from lib.data.parsing import find_days
from lib.data.source import Source, match_columns

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_LINES = 50
EXCEL_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?=\r?\n)', re.IGNORECASE)  # before the header


def read(
    path: Path,
    wanted: Mapping[str, str],
    *,
    separator: str,
    encoding: str,
    optional: Iterable[str] = (),
) -> tuple[pd.DataFrame, Source]:
    """Read the wanted columns of a file, under their canonical names.

    Args:
        path: a CSV or Parquet file.
        wanted: canonical names to names of the file; "" means the canonical name, if it is there.
        separator: between fields; "" detects it.
        encoding: of the text; "" detects it.
        optional: canonical names of columns that the file may lack.

    Returns:
        The columns as written, and the source that locates them.

    Raises:
        SeriesError: the file or one of its columns cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SeriesError(
            f"{path}: cannot be read ({error.strerror}); expected a CSV or Parquet file. "
            "Check the path: a relative one counts from the working directory"
        ) from error
    if data.startswith(b"PAR1"):
        return _read_parquet(path, data, wanted, set(optional))
    return _read_csv(path, data, wanted, set(optional), separator=separator, encoding=encoding)


def _keep_present(
    wanted: Mapping[str, str], optional: set[str], header: Iterable[str]
) -> dict[str, str]:
    """Return the wanted columns without optional ones that the file lacks."""
    there = set(header)
    return {key: n for key, n in wanted.items() if key not in optional or n in there}


def _read_parquet(
    path: Path, data: bytes, wanted: Mapping[str, str], optional: set[str]
) -> tuple[pd.DataFrame, Source]:
    source = Source(path.name, reading=f'frame = pd.read_parquet("{path.name}")')
    try:
        file = pa_parquet.ParquetFile(pa.BufferReader(data))
        header = file.schema_arrow.names
        wanted = _keep_present(wanted, optional, header)
        located = replace(source, find_days=lambda: find_days_of(file.read().to_pandas()))
        columns = match_columns(header, wanted, located)
        table = file.read(columns=list(columns.values()))
    except (pa.ArrowInvalid, OSError) as error:
        raise SeriesError(
            f"{path.name}: not a complete Parquet file ({error}); expected one. Write it again"
        ) from error
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in table]
    table = pa.table(plain, names=table.column_names)
    frame = table.to_pandas(ignore_metadata=True, date_as_object=False)[list(columns.values())]
    frame.columns = list(columns)
    return frame, replace(source, columns=columns, header=header)


def find_days_of(frame: pd.DataFrame) -> str:
    """Return the name of the first column of a table that holds days, "" for none."""
    for name in frame.columns:
        if pd.api.types.is_datetime64_any_dtype(frame[name]):
            return str(name)
    sample = frame.iloc[:SAMPLE_LINES]
    return find_days({str(name): sample[name].dropna().astype("str").tolist() for name in sample})


def _read_csv(
    path: Path,
    data: bytes,
    wanted: Mapping[str, str],
    optional: set[str],
    *,
    separator: str,
    encoding: str,
) -> tuple[pd.DataFrame, Source]:
    text, used = decode(path.name, data, encoding)
    if named := EXCEL_LINE.match(text):
        # A blank line in its place: the numbers of the lines stay.
        text = text[named.end() :]
        data, separator = text.encode(), separator or named[1]
    if not text.strip():
        raise SeriesError(
            f"{path.name}: the file is empty; expected a header line and one line a day. "
            "Check the export that wrote it"
        )
    _check_separator(separator)
    separator = separator or _find_separator(text, [name for name in wanted.values() if name])
    if (used, separator) != ("utf-8", ","):
        structlog.get_logger().info(
            "series_file_format", file=path.name, encoding=used, separator=separator
        )
    lines, header = _read_header(path.name, text, separator)
    _check_first_line(path.name, text, separator, header, wanted)
    source = Source(
        f"{path.name} (read as {used}, separator {separator!r})",
        locate=lambda row: f"line {_line_of(text, separator, row)}",
        separator=separator,
        reading=f'frame = pd.read_csv("{path.name}", sep={separator!r}, encoding={used!r})',
        find_days=lambda: find_days(_sample_columns(text, separator)),
    )
    columns = match_columns(header, _keep_present(wanted, optional, header), source)
    if not columns:
        raise source.error(
            f"the columns are {header}",
            expected=f"some of {list(wanted.values())}",
            remedy="Rename them, or set SEPARATOR if these names look wrong",
        )
    positions = [header.index(name) for name in columns.values()]
    try:
        frame = _read_columns(
            data if used == "utf-8" else text.encode(), separator, lines, len(header), positions
        )
    except pa.ArrowInvalid as error:
        raise _ragged_error(text, separator, len(header), path.name, error) from error
    frame.columns = list(columns)
    return frame, replace(source, name=path.name, columns=columns, header=header)


def _check_separator(separator: str) -> None:
    if separator and (len(separator) != 1 or separator in '\r\n"'):
        raise SeriesError(f"SEPARATOR: got {separator!r}, expected one character such as ';'")


def _read_header(name: str, text: str, separator: str) -> tuple[int, list[str]]:
    """Return the number of lines of the header, and its names."""
    try:
        lines, header = next(_records(text, separator))
    except csv.Error as error:
        raise SeriesError(f"{name}: the header line cannot be read ({error})") from error
    return lines, [column.strip() for column in header]


def _check_first_line(
    name: str, text: str, separator: str, header: list[str], wanted: Mapping[str, str]
) -> None:
    """Refuse a title above the names of the columns, days beside each other, and no names."""
    if wanted.get("date") in header:
        return
    sought = {column for column in wanted.values() if column}
    for line, record in islice(_records(text, separator), SAMPLE_LINES):
        if len(sought & {cell.strip() for cell in record}) > 1 and record != header:
            raise SeriesError(
                f"{name}: the names of the columns stand in line {line}; expected them in the "
                "first one. Delete the lines above"
            )
    days = [cell for cell in header if find_days({cell: [cell]})]
    if len(days) > 1:
        others = [cell for cell in header if cell not in days]
        raise SeriesError(
            f"{name}: {len(days)} columns are days, {days[0]!r} the first; expected one row a day. "
            f'Write them so: frame.melt(id_vars={others}, var_name="date", value_name="value")'
        )
    if days:
        raise SeriesError(
            f"{name}: the first line is {header}; expected the names of the columns. Write them "
            "above the first day, such as date,value"
        )


def _read_columns(
    data: bytes, separator: str, skip: int, width: int, positions: list[int]
) -> pd.DataFrame:
    """Return the columns at some positions of CSV text in UTF-8, as text."""
    names = [f"c{i}" for i in positions]
    table = pa_csv.read_csv(
        io.BytesIO(data),
        read_options=pa_csv.ReadOptions(
            column_names=[f"c{i}" for i in range(width)], skip_rows=skip
        ),
        parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.large_string()),
            strings_can_be_null=False,
        ),
    )
    return table.to_pandas()


def _find_separator(text: str, wanted: list[str]) -> str:
    """Return the separator under which the header has the wanted names and the lines one width."""
    sample = text.lstrip("\r\n").splitlines()[:SAMPLE_LINES]
    best, best_score = ",", (-1, -1.0)
    for separator in SEPARATORS:
        try:
            rows = [row for row in csv.reader(sample, delimiter=separator) if row]
        except csv.Error:
            continue
        width = len(rows[0])
        named = len(set(wanted) & {name.strip() for name in rows[0]})
        same = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        if (named, same) > best_score:
            best, best_score = separator, (named, same)
    return best


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (last line number, fields) of each record, header first, without empty lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for record in reader:
        if record:
            yield reader.line_num, record


def _sample_columns(text: str, separator: str) -> dict[str, list[str]]:
    """Return the first fields of each column of a file, by its name."""
    records = [fields for _, fields in islice(_records(text, separator), SAMPLE_LINES)]
    header, *rows = records
    return {name.strip(): [row[i] for row in rows if i < len(row)] for i, name in enumerate(header)}


def _line_of(text: str, separator: str, row: int) -> int:
    """Return the line of a row, counted from 0, of a file.

    Only messages need it. Counting records again is slower than reading them, but exact where a
    quoted field holds a line end or where empty lines were skipped.
    """
    return next(
        line for number, (line, _) in enumerate(_records(text, separator)) if number == row + 1
    )


def _ragged_error(
    text: str, separator: str, width: int, name: str, error: Exception
) -> SeriesError:
    """Return the error of a file that Arrow cannot read, with the first line of another width."""
    try:
        for line, record in _records(text, separator):
            if len(record) != width:
                return SeriesError(
                    f"{name}, line {line}: {len(record)} fields; expected {width} as in the "
                    f"header, separated by {separator!r}. Set SEPARATOR if that is another, and "
                    "put quotes around numbers with a decimal comma in a file with commas"
                )
    except csv.Error as broken:
        return SeriesError(f"{name}: {broken}; expected quotes that close on the same field")
    return SeriesError(f"{name}: cannot be read as CSV ({error}); expected one line a day")
