"""Say which covariates are known for the coming days, and which are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.data import Panel, find_near

MAX_NAMES = 5  # of categories in notes
SEPARATOR = ":"
COVARIATES = {"fator_externo": "factor", "evento_especial": "event"}  # to the panel's arrays


def describe_known_ahead(
    panel: Panel,
    origins: np.ndarray,
    horizon: int,
    columns: Mapping[str, str],
    *,
    holidays: str = "",
    country: str = "",
) -> list[str]:
    """Return a sentence for each covariate of a panel: for how many coming days it is known.

    Args:
        panel: known days and horizon.
        origins: (n,) row of the last known day of each series.
        horizon: days ahead.
        columns: canonical names to the names of the user's columns.
        holidays: country whose public holidays are the events of the panel, "" for none.
        country: that was named.
    """
    ahead = origins[:, None] + np.arange(1, horizon + 1)
    notes = []
    if holidays:
        notes.append(f"the public holidays of {holidays} are known for all days ahead")
    elif country:
        events = columns.get("evento_especial", "evento_especial")
        notes.append(f"the holidays of {country} are used beside the events of {events}")
    for name, field in COVARIATES.items():
        if name == "evento_especial" and holidays:
            continue
        values = getattr(panel, field)
        if not np.isfinite(values).any():
            continue
        known = int(np.isfinite(values[ahead]).sum())
        notes.append(_describe(columns.get(name, name), known, ahead.size, len(origins)))
        notes += _describe_unseen(columns.get(name, name), values, ahead)
    return notes + _describe_covariates(panel, ahead)


def describe_unlearned(planned: pd.DataFrame, covariates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each planned category that a model has not learned.

    Args:
        planned: rows of a canonical table.
        covariates: of the model, by its contract.
    """
    notes = []
    for item in covariates:
        column = SEPARATOR.join((item["role"], item["kind"], item["name"]))
        if item["kind"] != "category" or column not in planned:
            continue
        for label in sorted(set(planned[column].dropna()) - {"", *item["labels"]})[:MAX_NAMES]:
            near = find_near(label, item["labels"])
            hint = f"; did you mean {near!r}?" if near else ""
            notes.append(f"{item['name']}: {label!r} was not learned and counts as unknown{hint}")
    return notes


def describe_misplaced(
    days: pd.Series, first: pd.Timestamp, last: pd.Timestamp, horizon: int
) -> list[str]:
    """Return a sentence if no planned day is one of the days ahead.

    Args:
        days: that are planned.
        first: the earliest last day of a series.
        last: the latest.
        horizon: days ahead.
    """
    begin, end = first + pd.Timedelta(days=1), last + pd.Timedelta(days=horizon)
    if days.max() < begin:
        return [
            f"FUTURE ends {days.max():%Y-%m-%d}, before the days ahead begin ({begin:%Y-%m-%d})"
        ]
    if days.min() > end:
        return [f"FUTURE begins {days.min():%Y-%m-%d}, after the last day ahead ({end:%Y-%m-%d})"]
    return []


def _describe_covariates(panel: Panel, ahead: np.ndarray) -> list[str]:
    """Return a sentence for the covariates that are known for as many of the days ahead.

    Args:
        panel: known days and horizon.
        ahead: (n, horizon) rows of the days ahead.
    """
    names: dict[int, list[str]] = {}
    unseen = []
    for covariate in panel.covariates:
        if covariate.role == "known" and covariate.kind != "holiday":
            known = int(np.isfinite(covariate.values[ahead]).sum())
            names.setdefault(known, []).append(covariate.name)
        if covariate.role == "known" and covariate.kind in ("number", "event"):
            unseen += _describe_unseen(covariate.name, covariate.values, ahead)
    notes = []
    for known, listed in names.items():
        note = _describe(", ".join(listed), known, ahead.size, len(ahead))
        if len(listed) > 1:
            note = note.replace(" is ", " are ", 1)
            note = note.replace("give it", "give them").replace("without it", "without them")
            note = note.replace("name it", "name them").replace("it never is", "they never are")
        notes.append(note)
    blank = [c.name for c in panel.covariates if c.kind == "category" and "" in c.labels]
    return (
        notes
        + unseen
        + [f"a blank in {name} counts as none, as it mostly is blank" for name in blank]
    )


def _describe_unseen(column: str, values: np.ndarray, ahead: np.ndarray) -> list[str]:
    """Return a sentence if a number is another one ahead, and was always the same before."""
    planned, before = values[ahead], np.delete(values, ahead.ravel())
    seen = np.unique(before[np.isfinite(before)])
    other = planned[np.isfinite(planned) & ~np.isin(planned, seen)]
    if len(seen) != 1 or not len(other):
        return []
    return [
        f"{column} is {other[0]:g} on days ahead, and was {seen[0]:g} on all days before: what it "
        "does could not be learned, and the forecast leaves it out"
    ]


def _describe(column: str, known: int, days: int, series: int) -> str:
    if known == days:
        return f"{column} is known for all days ahead"
    if not known:
        return (
            f"{column} is not known for the days ahead, so they are forecast without it; give it "
            "in FUTURE (`future=` in Python) or in rows behind the last value, or name it among "
            "the PAST_COVARIATES if it never is"
        )
    of_all = "" if series == 1 else f" of all {series} series"
    return f"{column} is known for {known} of the {days} days ahead{of_all}"
