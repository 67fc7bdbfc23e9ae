"""Read the covariates of a model from the rows of a request, by the user's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from lib.data import find_near
from lib.inference import Contract
from serving.http import invalid
from serving.schemas.plausibility import FieldWarning

_TYPES: dict[str, tuple[set[type], str]] = {
    "number": ({float, int}, "a number or null"),
    "event": ({float, int, bool}, "a number from 0 to 1, true, false or null"),
    "category": ({str, float, int}, "the name of a category or null"),
}
BLANK = "blank"  # key of a described event whose blank days have this value
_KNOWN_LABELS = 10  # named in a warning
_LONGEST = 200  # characters of an unknown category that are kept


@dataclass(frozen=True)
class CovariateFields:
    """The covariates that a model takes, as fields of rows and of `static`.

    Attributes:
        described: all of the contract, with holidays, in its order.
        rows: those of a day of history, by name.
        known: those of them that a day ahead may have.
        static: those of a series.
    """

    described: tuple[Mapping[str, Any], ...]
    rows: dict[str, Mapping[str, Any]]
    known: tuple[str, ...]
    static: dict[str, Mapping[str, Any]]

    @classmethod
    def of(cls, contract: Contract) -> CovariateFields:
        """Return those of a contract; holidays come by themselves."""
        described = tuple(contract.settings.get("covariates", ()))
        sent = [item for item in described if item["kind"] != "holiday"]
        rows = {item["name"]: item for item in sent if item["role"] != "static"}
        return cls(
            described=described,
            rows=rows,
            known=tuple(name for name, item in rows.items() if item["role"] == "known"),
            static={item["name"]: item for item in sent if item["role"] == "static"},
        )

    def read_rows(
        self, rows: Sequence[Any], names: Sequence[str], field: str
    ) -> tuple[dict[str, np.ndarray], list[FieldWarning]]:
        """Return covariates of rows, each (rows,) float64, NaN where unknown, and warnings.

        Args:
            rows: dicts, or structs of `day_type`.
            names: of the covariates.
            field: path of the rows.

        Raises:
            RequestError: 422, where a value is not of the kind of its covariate.
        """
        columns, warnings = {}, []
        for name in names:
            cells = _cells(rows, list(self.rows), self.rows[name])
            columns[name], unknown = _read(cells, self.rows[name], field, indexed=True)
            warnings += _warn(unknown, self.rows[name], f"{field}.{name}")
        return columns, warnings

    def read_day(self, row: Any) -> dict[str, float | str | None]:
        """Return the covariates of one checked row as they were sent, None where unknown.

        A category that the model has not learned keeps its name here.

        Args:
            row: a dict, or a struct of `day_type`.
        """
        names = list(self.rows)
        return {
            name: _as_sent(_cells([row], names, item)[0], item) for name, item in self.rows.items()
        }

    def read_recent(
        self,
        rows: Sequence[Any],
        numbers: Mapping[str, np.ndarray],
        days: np.ndarray,
        count: int,
    ) -> dict[str, list[float | str | None]]:
        """Return the covariates of the last days of checked rows, as `read_day` returns them.

        Args:
            rows: dicts, or structs of `day_type`.
            numbers: further columns of the rows, each (rows,).
            days: (rows,) datetime64[D], rising.
            count: of days up to the last row.

        Returns:
            Name to `count` cells, the oldest day first, None where unknown; without those of
            which nothing is known.
        """
        places = (days - days[-1]).astype(np.int64) + count - 1
        start = int(np.searchsorted(places, 0))
        recent: dict[str, list[float | str | None]] = {}
        for name, column in numbers.items():
            cells = column[start:]
            if np.isfinite(cells).any():
                recent[name] = [None if np.isnan(x) else x for x in cells.tolist()]
        names = list(self.rows)
        for name, item in self.rows.items():
            sent = [_as_sent(cell, item) for cell in _cells(rows[start:], names, item)]
            if any(cell is not None for cell in sent):
                recent[name] = sent
        if len(rows) - start == count:
            return recent
        return {name: _spread(cells, places[start:], count) for name, cells in recent.items()}

    def read_static(self, sent: Any, field: str) -> tuple[dict[str, float], list[FieldWarning]]:
        """Return the static covariates of a series, NaN where unknown, and warnings.

        Args:
            sent: the object `static`, None where it was left out.
            field: its path.

        Raises:
            RequestError: 422, naming the field.
        """
        if sent is not None and not isinstance(sent, dict):
            raise invalid(field, "expected an object of static covariates")
        sent = sent or {}
        for name in sent:
            if name not in self.static:
                names = f"is not one of the static covariates {list(self.static)}"
                raise invalid(f"{field}.{name[:60]}", names + _near(name, self.static))
        values, warnings = {}, []
        for name, item in self.static.items():
            column, unknown = _read([sent.get(name)], item, field, indexed=False)
            values[name] = float(column[0])
            warnings += _warn(unknown, item, f"{field}.{name}")
        return values, warnings

    def refusal(self, name: str, allowed: Sequence[str]) -> str:
        """Return why a field of a row is refused, of those that are allowed there."""
        if name in self.static:
            return "is a static covariate: expected in `static`, beside series_id"
        if name in self.rows:
            return "is known up to today only: expected in history"
        return f"is not one of {sorted(allowed)}{_near(name, allowed)}"


def _as_sent(cell: Any, item: Mapping[str, Any]) -> float | str | None:
    """Return a cell to be stored: a category that the model has not learned keeps its name."""
    if item["kind"] != "category":
        return None if cell is None else float(cell)
    text = None if cell is None else as_text(cell)
    return text if text in item["labels"] else (text or "")[:_LONGEST] or None


def _spread(
    cells: list[float | str | None], places: np.ndarray, count: int
) -> list[float | str | None]:
    """Return `count` cells with some of them at their places."""
    spread: list[float | str | None] = [None] * count
    for place, cell in zip(places.tolist(), cells, strict=True):
        spread[place] = cell
    return spread


def _near(name: str, allowed: Iterable[str]) -> str:
    near = find_near(name[:_LONGEST], allowed)
    return f"; did you mean {near!r}?" if near else ""


def covariate_attribute(number: int) -> str:
    """Return the attribute of a decoded row that holds the covariate of a number."""
    return f"covariate_{number}"


def _cells(rows: Sequence[Any], names: list[str], item: Mapping[str, Any]) -> list[Any]:
    """Return the cells of a covariate; null is "" or 0 where a blank means none."""
    name = item["name"]
    if isinstance(rows[0], dict):
        cells = [row.get(name, msgspec.UNSET) for row in rows]
    else:
        attribute = covariate_attribute(names.index(name))
        cells = [getattr(row, attribute, msgspec.UNSET) for row in rows]
    none = "" if "" in item["labels"] else item.get(BLANK)
    if none is not None:
        cells = [none if cell is None else cell for cell in cells]
    return [None if cell is msgspec.UNSET else cell for cell in cells]


def _read(
    cells: list[Any], item: Mapping[str, Any], field: str, *, indexed: bool
) -> tuple[np.ndarray, list[str]]:
    """Return a column, and the categories that the model has not learned."""
    types, expected = _TYPES[item["kind"]]

    def place(i: int) -> str:
        return f"{field}[{i}].{item['name']}" if indexed else f"{field}.{item['name']}"

    for i, cell in enumerate(cells):
        if cell is not None and type(cell) not in types:
            found = "a boolean" if isinstance(cell, bool) else type(cell).__name__
            raise invalid(place(i), f"expected {expected}, got {found}")
    if item["kind"] == "category":
        return _read_categories(cells, item["labels"])
    column = np.array([np.nan if cell is None else as_float(cell) for cell in cells])
    wrong = np.isinf(column)
    if item["kind"] == "event":
        wrong |= (column < 0) | (column > 1)
    if wrong.any():
        limits = "a finite number" if item["kind"] == "number" else "a number from 0 to 1"
        raise invalid(place(int(wrong.argmax())), f"expected {limits}")
    return column, []


def as_float(number: float) -> float:
    """Return a number as float64, infinite where it is too large."""
    try:
        return float(number)
    except OverflowError:
        return np.inf


def _read_categories(cells: list[Any], labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    places = {label: float(i) for i, label in enumerate(labels)}
    texts = [None if cell is None else as_text(cell) for cell in cells]
    unknown = sorted({text for text in texts if text and text not in places})
    column = np.array([np.nan if text is None else places.get(text, np.nan) for text in texts])
    return column, unknown


def as_text(cell: str | float) -> str:
    """Return the name of a category."""
    return cell.strip() if isinstance(cell, str) else f"{cell:.15g}"


def _warn(unknown: list[str], item: Mapping[str, Any], field: str) -> list[FieldWarning]:
    if not unknown:
        return []
    learned = ", ".join(item["labels"][:_KNOWN_LABELS])
    more = ", …" if len(item["labels"]) > _KNOWN_LABELS else ""
    names = ", ".join(repr(label[:60]) for label in unknown[:3])
    return [
        FieldWarning(
            field,
            f"{names}: not a category that the model has learned ({learned}{more}); it counts as "
            "unknown",
        )
    ]
