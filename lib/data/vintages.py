"""Vintages of planned covariates: what was known of the days ahead at each cutoff of a backtest.

A weather forecast is revised every day, and a price plan changes. A backtest that takes what came
true of them knows more than anybody did. Each row of a table of vintages says since when it was
known (`KNOWN_AT`), and a cutoff sees the rows that were known by its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import structlog

from lib.data.blank_cells import fill_event
from lib.data.covariates import split_column
from lib.data.loading import KNOWN_AT
from lib.data.near_names import find_near
from lib.data.panel import SERIES_COLUMNS, Panel
from lib.data.planned_tables import (
    KEYS,
    OF_FRAME,
    convert_plans,
    describe_strangers,
    keep_latest,
    planned_columns,
    read_plan_file,
)
from lib.data.source import Source, as_frame

DAY = np.timedelta64(1, "D")
MAX_LABELS = 5  # in messages
log = structlog.get_logger()


def load_vintages(
    path: str | Path,
    history: pd.DataFrame,
    *,
    date_column: str = "date",
    series_column: str = "",
    external_column: str = "",
    event_column: str = "",
    decimal: str = "",
    separator: str = "",
    encoding: str = "",
) -> pd.DataFrame:
    """Read a file of planned covariates with the time since when each row was known.

    Args:
        path: CSV or Parquet file: the day, perhaps the series, KNOWN_AT, and covariates.
        history: canonical table of the series, as `load` returns it.
        date_column: as for `load`, and so are the other arguments.
        series_column: without such a column, rows are meant for every series.
        external_column: of the external factor.
        event_column: of the special event.
        decimal: the decimal mark.
        separator: between the fields of a text file.
        encoding: of a text file.

    Returns:
        As `read_vintages`.

    Raises:
        SeriesError: names file, column, line and remedy.
    """
    given = (series_column, date_column, "", external_column, event_column)
    names = {name: own for name, own in zip(SERIES_COLUMNS, given, strict=True) if own}
    path = Path(path)
    frame, source = read_plan_file(path, names, history, separator=separator, encoding=encoding)
    vintages = read_vintages(frame, names, history, source, decimal=decimal)
    vintages.attrs["source"] = path.name
    return vintages


def read_vintages(
    frame: pd.DataFrame,
    names: Mapping[str, str],
    history: pd.DataFrame,
    source: Source = OF_FRAME,
    *,
    decimal: str = "",
) -> pd.DataFrame:
    """Return the planned covariates of a user's table with the time since when each row was known.

    Args:
        frame: one row for each day, or day and series, and each time that its plan was made.
        names: canonical names to the names of the user's columns.
        history: the canonical table of all series.
        source: of the rows, for messages.
        decimal: the decimal mark of text; "" detects it.

    Returns:
        `series_id` if the table has it, `date`, KNOWN_AT and canonical columns of covariates. Its
        `attrs` have the `source` and the user's `names` of the covariates.

    Raises:
        SeriesError: a column is missing or strange, a cell cannot be read, two rows contradict
            each other, or no row was known before its day.
    """
    frame = as_frame(frame, [*planned_columns(names, history).values(), KNOWN_AT], source)
    _check_columns(list(source.header or frame.columns), names, history, source)
    table, source = convert_plans(frame, names, history, source, decimal=decimal)
    if "series_id" in table:
        for note in describe_strangers(table["series_id"], history["series_id"]):
            log.warning("plans_of_other_series", detail=note)
    _warn_of_labels(table, history, source)
    table = _drop_late(table, source)
    shown = planned_columns(names, history)
    table.attrs = {
        "source": source.name,
        "names": {n: shown[n] for n in table if n not in (*KEYS, KNOWN_AT)},
    }
    return table


def as_known_at(panel: Panel, vintages: pd.DataFrame, cutoff: np.datetime64) -> Panel:
    """Return a panel with what was known of the days behind a cutoff, at that cutoff.

    Days up to the cutoff stay as they are, and so do covariates that the vintages do not have. The
    latest row that knows a covariate counts; where there was none by then, it is unknown.

    Args:
        panel: N rows.
        vintages: as `read_vintages` returns them.
        cutoff: datetime64[D], whose end is the time of the forecast.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=4, start="2024-01-01"), seed=1)
    >>> days = pd.to_datetime(["2024-01-03"] * 2)
    >>> plans = pd.DataFrame({"date": days, KNOWN_AT: pd.to_datetime(["2024-01-01", "2024-01-02"])})
    >>> plans["fator_externo"] = [1.0, 2.0]
    >>> as_known_at(panel, plans, np.datetime64("2024-01-01")).factor[1:].tolist()
    [nan, 1.0, nan]
    """
    behind = np.flatnonzero(panel.dates > cutoff)
    known = vintages[KNOWN_AT] < pd.Timestamp(cutoff + DAY)
    plans = vintages[known & (vintages["date"] > pd.Timestamp(cutoff))]
    labels = {c.column: c.labels for c in panel.covariates}
    plans = plans.assign(**_fill_blanks(plans, labels))
    ids = pd.Series(list(panel.ids), dtype="str")
    rows = pd.DataFrame(
        {
            "series_id": ids.take(panel.series_of(behind)).array,
            "date": panel.dates[behind].astype("datetime64[us]"),
        }
    )
    keys = [name for name in KEYS if name in plans]
    rows = rows.merge(keep_latest(plans), on=keys, how="left")

    def replace_behind(values: np.ndarray, column: str) -> np.ndarray:
        if column not in vintages:
            return values
        replaced, cells = values.copy(), rows[column]
        if found := labels.get(column, ()):
            cells = cells.map({label: float(i) for i, label in enumerate(found)})
        replaced[behind] = cells.to_numpy(np.float64, na_value=np.nan)
        return replaced

    return replace(
        panel,
        factor=replace_behind(panel.factor, "fator_externo"),
        event=replace_behind(panel.event, "evento_especial"),
        covariates=tuple(
            replace(c, values=replace_behind(c.values, c.column)) for c in panel.covariates
        ),
    )


def _check_columns(
    columns: list[str], names: Mapping[str, str], history: pd.DataFrame, source: Source
) -> None:
    """Refuse a table without KNOWN_AT, and columns that are no part of a plan."""
    planned = planned_columns(names, history)
    used = [own for n, own in planned.items() if n in (*KEYS, *names) or history[n].notna().any()]
    covariates = [own for own in used if own not in (planned["series_id"], planned["date"])]
    strange = [name for name in columns if name not in (*used, KNOWN_AT)]
    if KNOWN_AT in planned.values():
        raise source.error(
            f"a covariate is named {KNOWN_AT!r}",
            expected="another name for it: the column says since when a row was known",
            remedy="Rename the covariate in both tables",
        )
    if KNOWN_AT not in columns:
        near = find_near(KNOWN_AT, map(str, strange))
        raise source.error(
            f"there is no column {KNOWN_AT!r}" + (f", but {near!r}" if near else ""),
            expected="the day since when each row was known: a cutoff of the backtest sees what "
            "was known by then",
            remedy=f"Rename {near!r} to {KNOWN_AT!r}" if near else "Add it, as YYYY-MM-DD",
        )
    if strange:
        near = find_near(str(strange[0]), used)
        raise source.error(
            f"{strange[0]!r} is no covariate that is known for the days ahead",
            count=len(strange),
            expected=f"{planned['date']!r}, {KNOWN_AT!r}, perhaps {planned['series_id']!r}, and "
            f"some of {covariates}",
            remedy=(f"Did you mean {near!r}? " if near else "")
            + f"Rename it, name it with {source.parameter('known')} if the history has it, or "
            "drop it",
        )


def _warn_of_labels(table: pd.DataFrame, history: pd.DataFrame, source: Source) -> None:
    """Log the categories that no day of the history has: they count as unknown."""
    for column in table.columns.intersection(history.columns):
        if column in KEYS or table[column].dtype.kind in "fM":
            continue
        labels = {str(label) for label in history[column].dropna()}
        new = sorted({str(label) for label in table[column].dropna()} - labels - {""})
        for label in new[:MAX_LABELS]:
            log.warning(
                "plan_of_unknown_category",
                file=source.name,
                column=source.column(column),
                category=label,
                near=find_near(label, labels),
                advice="the history has no such category; it counts as unknown",
            )


def _drop_late(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Return the rows that were known by the end of their day: a later one is no plan of it."""
    late = table[KNOWN_AT] >= table["date"] + DAY
    if not late.any():
        return table
    row = int(late.idxmax())
    day, known = (f"{table[name].iloc[row]:%Y-%m-%d}" for name in ("date", KNOWN_AT))
    if late.all():
        raise source.error(
            f"{day} became known on {known}, after the day itself",
            column=KNOWN_AT,
            row=row,
            count=len(table),
            expected="days on which the covariates of a later day were planned or forecast",
            remedy=f"Are {source.column('date')!r} and {KNOWN_AT!r} exchanged? What came true "
            "stands in the history",
        )
    log.warning(
        "plans_known_after_their_day",
        file=source.name,
        row=source.locate(row),
        date=day,
        known_at=known,
        count=int(late.sum()),
        advice="no cutoff before such a day can have known the row: it is not used; drop it, or "
        "correct known_at",
    )
    return table[~late].reset_index(drop=True)


def _fill_blanks(
    plans: pd.DataFrame, labels: Mapping[str, tuple[str, ...]]
) -> dict[str, pd.Series]:
    """Return the columns whose blanks mean none, as far as was known by then."""
    filled = {}
    for name in plans.columns.difference([*KEYS, KNOWN_AT]):
        if name == "evento_especial" or (name in labels and split_column(name)[1] == "event"):
            filled[name] = fill_event(plans[name])
        elif "" in labels.get(name, ()):
            filled[name] = plans[name].fillna("")
    return filled
