"""Names of series that differ only in what a reader does not see."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import structlog

from lib.data.source import Source

SHOWN = 10  # names in a message


def unify_names(names: pd.Series, days: np.ndarray, source: Source) -> pd.Series:
    """Return the names of series as one spelling each.

    Spellings that differ by outer spaces or by Unicode form (NFC, NFD) are one series, with a
    warning, unless both have a value on the same day. Names that differ by case stay apart, with
    a warning.

    Args:
        names: (N,) str as in the file.
        days: (N,) datetime64[D] of the same rows.
        source: of the rows, for messages.

    Raises:
        SeriesError: two spellings of one name have rows on the same day.
    """
    codes, spellings = pd.factorize(names)
    stripped = [name.strip() for name in spellings]
    groups = _group(stripped, lambda name: unicodedata.normalize("NFC", name))
    for name, members in groups.items():
        if len(members) > 1:
            _check_overlap(members, codes, days, [str(name) for name in spellings], source)
            for member in members:
                stripped[member] = name
    joined = {name: members for name, members in groups.items() if len(members) > 1}
    if joined:
        _warn("series_names_joined", joined, spellings, source, "taken for one series")
    _warn_of_case(sorted(set(stripped)), source)
    return pd.Series(np.array(stripped, dtype=object)[codes], index=names.index).astype("str")


def list_names(names: list[str], most: int = 3) -> str:
    """Return a few names for a sentence: `'a', 'b' and 5 others`."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} others" if len(names) > most else shown


def _group(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[int]]:
    groups = defaultdict(list)
    for i, name in enumerate(names):
        groups[key(name)].append(i)
    return dict(groups)


def _check_overlap(
    members: list[int], codes: np.ndarray, days: np.ndarray, spellings: list[str], source: Source
) -> None:
    rows = np.flatnonzero(np.isin(codes, members))
    pairs = pd.DataFrame({"code": codes[rows], "day": days[rows], "row": rows})
    pairs = pairs.drop_duplicates(["code", "day"])
    twice = pairs[pairs.duplicated("day")]
    if twice.empty:
        return
    first, second = (ascii(spellings[member]) for member in members[:2])
    raise source.error(
        f"{first} and {second} are one name in two spellings (outer spaces or Unicode forms), and "
        f"both have a row on {np.datetime64(twice['day'].iloc[0], 'D')}",
        column="series_id",
        row=int(twice["row"].iloc[0]),
        count=len(twice),
        expected="one spelling of each name, or names that a reader can tell apart",
        remedy="Rename one of them if they are two series; otherwise add them up: "
        f'frame["{source.column("series_id")}"].str.strip().str.normalize("NFC")',
    )


def _warn_of_case(names: list[str], source: Source) -> None:
    alike = {k: v for k, v in _group(names, str.casefold).items() if len(v) > 1}
    if alike:
        _warn("series_names_alike", alike, names, source, "kept apart; they differ by case only")


def _warn(
    event: str,
    groups: dict[str, list[int]],
    names: Iterable[str],
    source: Source,
    advice: str,
) -> None:
    names = list(names)
    structlog.get_logger().warning(
        event,
        file=source.name,
        series=[[ascii(names[i]) for i in members] for members in list(groups.values())[:SHOWN]],
        count=len(groups),
        advice=advice,
    )
