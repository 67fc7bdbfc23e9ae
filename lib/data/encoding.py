"""Bytes of a file to text: the encoding is given, marked or detected."""

from __future__ import annotations

import codecs

from lib.data.panel import SeriesError

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def decode(name: str, data: bytes, encoding: str) -> tuple[str, str]:
    """Return the text of a file and the encoding it was read with.

    Args:
        name: of the file, for messages.
        data: its bytes.
        encoding: "" to detect it.

    Raises:
        SeriesError: the bytes are not text in that encoding, or in any that is tried.
    """
    if data.startswith(_SPREADSHEETS):
        raise SeriesError(
            f"{name}: this is a spreadsheet or an archive; expected CSV or Parquet. "
            "Save the sheet as CSV (UTF-8)"
        )
    marked = next((codec for mark, codec in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    stated = _check_encoding(encoding) or marked
    if stated and codecs.lookup(stated).name == "utf-8" and marked == "utf-8-sig":
        stated = marked
    text, used = _decode_as(name, data, stated) if stated else _detect(name, data)
    if "\0" in text:
        raise SeriesError(
            f"{name}, {_locate_byte(data, data.find(0))} is zero, so this is not {used} text; "
            "expected CSV or Parquet. Set ENCODING (utf-16 perhaps), or save it as UTF-8"
        )
    return text, "utf-8" if codecs.lookup(used).name in ("utf-8", "ascii") else used


def _check_encoding(encoding: str) -> str:
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError as error:
        raise SeriesError(
            f"ENCODING: got {encoding!r}, expected a name such as utf-8, latin-1 or cp1252"
        ) from error
    return encoding


def _decode_as(name: str, data: bytes, encoding: str) -> tuple[str, str]:
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise SeriesError(
            f"{name}, {_locate_byte(data, error.start)} is not {encoding}; expected text in the "
            f"encoding {encoding}. Set ENCODING to that of the file (latin-1 or cp1252 for most "
            "older Brazilian files), or leave it empty to detect it"
        ) from error


def _detect(name: str, data: bytes) -> tuple[str, str]:
    """Decode as UTF-8, or else as Windows-1252.

    Text that is not UTF-8 is in practice Windows-1252, which is latin-1 and a few signs more. Its
    five undefined bytes, and control characters, give binary data away.
    """
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        try:
            return data.decode("cp1252"), "cp1252"
        except UnicodeDecodeError:
            raise SeriesError(
                f"{name}, {_locate_byte(data, error.start)} is neither UTF-8 nor Windows-1252 "
                "(cp1252); expected text. Set ENCODING to the file's encoding, or save it as UTF-8"
            ) from error


def _locate_byte(data: bytes, at: int) -> str:
    line = data.count(b"\n", 0, at) + 1
    return f"line {line}: byte 0x{data[at]:02x}"
