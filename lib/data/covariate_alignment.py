"""The covariates of a model: described in its contract, and matched with those of other data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lib.data.covariates import Covariate, as_categories
from lib.data.holidays import add_holidays, mark_holidays, split_calendar
from lib.data.panel import Panel, SeriesError

# This module is logged with each model, which runs where structlog may be missing.
_log = logging.getLogger(__name__)


def describe_covariates(panel: Panel) -> list[dict[str, Any]]:
    """Return name, role, kind, labels and calendar of the covariates of a panel, for JSON.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=30), seed=1)
    >>> price = Covariate("price", "known", "number", panel.values)
    >>> describe_covariates(replace(panel, covariates=(price,)))
    [{'name': 'price', 'role': 'known', 'kind': 'number', 'labels': [], 'calendar': ''}]
    """
    return [_describe(covariate, panel) for covariate in panel.covariates]


def _describe(covariate: Covariate, panel: Panel) -> dict[str, Any]:
    item = {
        "name": covariate.name,
        "role": covariate.role,
        "kind": covariate.kind,
        "labels": list(covariate.labels),
        "calendar": covariate.calendar,
    }
    if covariate.calendar:
        item["fills_events"] = _are_events(panel, covariate.calendar)
    return item


def _are_events(panel: Panel, calendar: str) -> bool:
    """Tell whether the events of a panel are the public holidays of a calendar."""
    known = np.isfinite(panel.event)
    holidays = mark_holidays(panel, *split_calendar(calendar))
    return bool(known.any() and (panel.event[known] == holidays[known]).all())


def align_covariates(panel: Panel, described: Sequence[Mapping[str, Any]]) -> Panel:
    """Return a panel with the covariates that a model has learned, in its order and kinds.

    Those that the panel lacks are unknown; holidays come from their calendar, and are the events as
    well where a model has learned with such events and the panel has none. A category that was not
    learned is unknown, and the log names it. Covariates that were not learned are left out.

    Args:
        panel: to forecast.
        described: of the model, as `describe_covariates` returns them.

    Raises:
        SeriesError: a covariate has values of another kind.
    """
    here = {c.name: c for c in panel.covariates}
    aligned: list[Covariate] = []
    for item in described:
        name = item["name"]
        if item["kind"] == "holiday":
            continue
        covariate = here.get(name)
        values = (
            np.full(len(panel.dates), np.nan) if covariate is None else _convert(covariate, item)
        )
        values = _fill_blanks(values, item, panel)
        aligned.append(Covariate(name, item["role"], item["kind"], values, tuple(item["labels"])))
    result = replace(panel, covariates=tuple(aligned))
    for item in described:
        if item["kind"] == "holiday":
            result = _align_holidays(panel, result, item)
    order = {item["name"]: i for i, item in enumerate(described)}
    ordered = sorted(result.covariates, key=lambda c: order.get(c.name, len(order)))
    return replace(result, covariates=tuple(ordered))


def _fill_blanks(values: np.ndarray, item: Mapping[str, Any], panel: Panel) -> np.ndarray:
    """Return the values with none on blank days with a value, where a blank means that.

    So it does where a model has learned it, with the label "", and in an event that has no 0 and
    is blank on most of these days. Each series tells by itself, and only where it knows the
    covariate at all: its forecast is the same in any company.

    Args:
        values: (N,) of the covariate, in the labels of the model.
        item: the covariate, as the model describes it.
        panel: N rows.
    """
    observed = np.isfinite(panel.values)
    known, blank = np.isfinite(values) & observed, np.isnan(values) & observed

    def count(rows: np.ndarray) -> np.ndarray:
        """Count such rows in the series of each row. (N,)."""
        counts = np.add.reduceat(rows.astype(np.int64), panel.offsets[:-1])
        return np.repeat(counts, np.diff(panel.offsets))

    none = blank & (count(known) > 0)
    if "" in item["labels"]:
        return np.where(none, float(item["labels"].index("")), values)
    if item["kind"] != "event":
        return values
    is_marked = (count(known & (values <= 0)) == 0) & (count(blank) > count(known))
    return np.where(none & is_marked, 0.0, values)


def _align_holidays(panel: Panel, aligned: Panel, item: Mapping[str, Any]) -> Panel:
    """Return the aligned panel with holidays: of the model's calendar, else as the panel has them.

    Static covariates that hold the country of a series may not be among the learned ones.
    """
    if item["calendar"]:
        try:
            place = split_calendar(item["calendar"])
            panel = add_holidays(panel, *place)
            if item.get("fills_events") and not np.isfinite(aligned.event).any():
                aligned = replace(aligned, event=mark_holidays(panel, *place))
        except ModuleNotFoundError:
            _log.warning("the package holidays is not installed: the holidays are not known")
    unknown = np.full(len(panel.dates), np.nan)
    none = Covariate(item["name"], "known", "holiday", unknown, tuple(item["labels"]))
    holidays = next((c for c in panel.covariates if c.kind == "holiday"), none)
    holidays = replace(holidays, name=item["name"])
    return replace(aligned, covariates=(*aligned.covariates, holidays))


def _convert(covariate: Covariate, item: Mapping[str, Any]) -> np.ndarray:
    """Return the values of a covariate in the kind and the labels of a model. (N,)."""
    kind, labels = item["kind"], list(item["labels"])
    if kind == "category":
        return _encode(covariate, labels)
    values = covariate.values
    if covariate.labels:
        table = pd.to_numeric(pd.Series([*covariate.labels, None]), errors="coerce").to_numpy()
        codes = np.where(np.isnan(values), len(covariate.labels), values).astype(np.int64)
        wrong = np.isnan(table[codes]) & np.isfinite(values)
        if wrong.any():
            label = covariate.labels[int(values[wrong][0])]
            raise SeriesError(
                f"covariate {covariate.name!r}: got {label!r}, expected a number, as the model has "
                "learned it"
            )
        values = table[codes]
    if kind == "event" and ((values < 0) | (values > 1)).any():
        wrong = float(values[(values < 0) | (values > 1)][0])
        raise SeriesError(
            f"covariate {covariate.name!r}: got {wrong:g}, expected 0 (no event) to 1, as the "
            "model has learned it"
        )
    return values


def _encode(covariate: Covariate, labels: list[str]) -> np.ndarray:
    """Return categories as positions in `labels`, NaN where unknown or not learned. (N,)."""
    if covariate.labels:
        text, codes = list(covariate.labels), covariate.values
    else:
        distinct = np.unique(covariate.values[np.isfinite(covariate.values)])
        text = as_categories(pd.Series(distinct)).tolist()
        codes = np.where(
            np.isnan(covariate.values), np.nan, np.searchsorted(distinct, covariate.values)
        )
    places = {label: float(i) for i, label in enumerate(labels)}
    if unlearned := sorted(set(text) - {"", *labels}):
        _log.warning(
            "covariate %s: categories %s were not learned, they count as unknown",
            covariate.name,
            unlearned[:10],
        )
    table = np.array([*(places.get(label, np.nan) for label in text), np.nan])
    return table[np.where(np.isnan(codes), len(text), codes).astype(np.int64)]
