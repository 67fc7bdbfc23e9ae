"""Files of series: CSV text in any usual encoding, separator and spelling, or Parquet.

What is read here has the columns of the series table under their canonical names, still as
written: text from CSV, whatever type a Parquet file has. `lib.data.loading` checks and converts it.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import structlog

from lib.data.panel import SERIES_COLUMNS, SeriesError

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_LINES = 50
# The parameter that says which column is meant, as users of the notebooks know it.
PARAMETERS = {
    "series_id": "SERIES_COLUMN",
    "date": "DATE_COLUMN",
    "value": "VALUE_COLUMN",
    "fator_externo": "EXTERNAL_COLUMN",
    "evento_especial": "EVENT_COLUMN",
}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Source:
    """Where a table comes from, for messages: the file, its names for columns, its lines."""

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)  # canonical → the file's
    locate: Callable[[int], str] = "row {} (the first is 0)".format
    separator: str = ","  # of a text file
    reading: str = "frame = …"  # the line of pandas that reads it

    def column(self, canonical: str) -> str:
        """The file's own name of a column."""
        return self.columns.get(canonical, canonical)

    def error(
        self,
        problem: str,
        *,
        expected: str,
        remedy: str,
        column: str = "",
        row: int | None = None,
        count: int = 1,
    ) -> SeriesError:
        """A SeriesError naming file, column (canonical name in), row, what was expected, remedy."""
        where = [self.name]
        if column:
            where.append(f"column {self.column(column)!r}")
        if row is not None:
            where.append(self.locate(row))
        more = f" ({count:,} rows like this)" if count > 1 else ""
        return SeriesError(f"{', '.join(where)}: {problem}{more}; expected {expected}. {remedy}")


def read(
    path: Path, wanted: Mapping[str, str], *, separator: str, encoding: str
) -> tuple[pd.DataFrame, Source]:
    """Read the wanted columns of a file. → frame with canonical names, and where it comes from.

    `wanted` maps canonical names to the file's; "" asks for the canonical name if it is there.
    "" for separator or encoding means: find out. Raises SeriesError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SeriesError(
            f"{path}: cannot be read ({error.strerror}); expected a CSV or Parquet file. "
            "Check the path: a relative one counts from the working directory"
        ) from error
    if data.startswith(b"PAR1"):
        return _read_parquet(path, data, wanted)
    return _read_csv(path, data, wanted, separator=separator, encoding=encoding)


def match_columns(header: list[str], wanted: Mapping[str, str], source: Source) -> dict[str, str]:
    """The file's name of each canonical column it has. Raises SeriesError for a missing one."""
    found: dict[str, str] = {}
    for canonical in SERIES_COLUMNS:
        name = wanted.get(canonical, "")
        if not name and canonical not in header:
            continue
        name = name or canonical
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            hint = f"{near[0]!r} is near. " if near else ""
            raise source.error(
                f"there is no column {name!r}",
                expected=f"it among the columns {header}",
                remedy=f"{hint}Set {PARAMETERS[canonical]} to the column that holds it, or "
                "SEPARATOR or ENCODING if these names look wrong",
            )
        if header.count(name) > 1:
            raise source.error(
                f"{header.count(name)} columns are named {name!r}",
                expected="one",
                remedy="Rename the others",
            )
        if name in found.values():
            other = next(key for key, value in found.items() if value == name)
            raise source.error(
                f"{PARAMETERS[other]} and {PARAMETERS[canonical]} both name {name!r}",
                expected="a column of its own for each",
                remedy="Leave the one that is not there empty",
            )
        found[canonical] = name
    return found


def _read_parquet(
    path: Path, data: bytes, wanted: Mapping[str, str]
) -> tuple[pd.DataFrame, Source]:
    source = Source(path.name, reading=f'frame = pd.read_parquet("{path.name}")')
    try:
        file = pa_parquet.ParquetFile(pa.BufferReader(data))
        found = match_columns(file.schema_arrow.names, wanted, source)
        table = file.read(columns=list(found.values()))
    except (pa.ArrowInvalid, OSError) as error:
        raise SeriesError(
            f"{path.name}: not a complete Parquet file ({error}); expected one. Write it again"
        ) from error
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in table]
    table = pa.table(plain, names=table.column_names)
    frame = table.to_pandas(ignore_metadata=True, date_as_object=False)[list(found.values())]
    frame.columns = list(found)
    return frame, Source(path.name, found, reading=source.reading)


def _read_csv(
    path: Path, data: bytes, wanted: Mapping[str, str], *, separator: str, encoding: str
) -> tuple[pd.DataFrame, Source]:
    text, used = _decode(path.name, data, encoding)
    if not text.strip():
        raise SeriesError(
            f"{path.name}: the file is empty; expected a header line and one line a day. "
            "Check the export that wrote it"
        )
    if separator and (len(separator) != 1 or separator in '\r\n"'):
        raise SeriesError(f"SEPARATOR: got {separator!r}, expected one character such as ';'")
    separator = separator or _find_separator(text, [name for name in wanted.values() if name])
    if (used, separator) != ("utf-8", ","):
        structlog.get_logger().info(
            "series_file_format", file=path.name, encoding=used, separator=separator
        )
    try:
        lines, header = next(_records(text, separator))
    except csv.Error as error:
        raise SeriesError(f"{path.name}: the header line cannot be read ({error})") from error
    header = [name.strip() for name in header]
    source = Source(
        f"{path.name} (read as {used}, separator {separator!r})",
        locate=lambda row: f"line {_line_of(text, separator, row)}",
        separator=separator,
        reading=f'frame = pd.read_csv("{path.name}", sep={separator!r}, encoding={used!r})',
    )
    found = match_columns(header, wanted, source)
    positions = {name: f"c{header.index(own)}" for name, own in found.items()}
    names = [f"c{i}" for i in range(len(header))]
    try:
        table = pa_csv.read_csv(
            io.BytesIO(data if used == "utf-8" else text.encode()),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=lines),
            parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(positions.values()),
                column_types=dict.fromkeys(positions.values(), pa.large_string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _ragged(text, separator, len(header), path.name, error) from error
    frame = table.to_pandas()
    frame.columns = list(positions)
    return frame, Source(path.name, found, source.locate, separator, source.reading)


def _decode(name: str, data: bytes, encoding: str) -> tuple[str, str]:
    """The text of a file and the encoding it was read with."""
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise SeriesError(
            f"{name}: this is a spreadsheet or an archive; expected CSV or Parquet. "
            "Save the sheet as CSV (UTF-8)"
        )
    marked = next((used for mark, used in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    tried = encoding or marked or "utf-8"
    try:
        codecs.lookup(tried)
    except LookupError as error:
        raise SeriesError(
            f"ENCODING: got {encoding!r}, expected a name such as utf-8, latin-1 or cp1252"
        ) from error
    if codecs.lookup(tried).name == "utf-8" and marked == "utf-8-sig":
        tried = marked
    try:
        text = data.decode(tried)
    except UnicodeDecodeError as error:
        place = _byte_place(data, error.start)
        if encoding or marked:
            raise SeriesError(
                f"{name}, {place} is not {tried}; expected text in the encoding {tried}. Set "
                "ENCODING to the file's own (latin-1 or cp1252 for most older Brazilian files), "
                "or leave it empty to find out"
            ) from error
        # Text that is not UTF-8 is in practice Windows-1252, which is latin-1 and a few signs
        # more. Its five undefined bytes and control characters tell binary data.
        tried = "cp1252"
        try:
            text = data.decode(tried)
        except UnicodeDecodeError:
            raise SeriesError(
                f"{name}, {place} is neither UTF-8 nor Windows-1252 (cp1252); expected text. Set "
                "ENCODING to the file's encoding, or save it as UTF-8"
            ) from error
    if "\0" in text:
        raise SeriesError(
            f"{name}, {_byte_place(data, data.find(0))} is zero, so this is not {tried} text; "
            "expected CSV or Parquet. Set ENCODING (utf-16 perhaps), or save it as UTF-8"
        )
    return text, "utf-8" if codecs.lookup(tried).name in ("utf-8", "ascii") else tried


def _byte_place(data: bytes, at: int) -> str:
    line = data.count(b"\n", 0, at) + 1
    return f"line {line}: byte 0x{data[at]:02x}"


def _find_separator(text: str, wanted: list[str]) -> str:
    """The separator under which the header has the wanted names and the lines one width."""
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
    """(last line number, fields) of each record, header first; empty lines are none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for record in reader:
        if record:
            yield reader.line_num, record


def _line_of(text: str, separator: str, row: int) -> int:
    # Only for messages: counting records again is slower than reading, and exact where a
    # quoted field holds a line end or empty lines were passed over.
    return next(
        line for number, (line, _) in enumerate(_records(text, separator)) if number == row + 1
    )


def _ragged(text: str, separator: str, width: int, name: str, error: Exception) -> SeriesError:
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
