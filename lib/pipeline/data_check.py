"""Checks the file of a run before any kernel starts: an error then needs no notebook around it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib.pipeline.parameters import Parameter, ParameterError

if TYPE_CHECKING:
    import pandas as pd

_READS_DATA = "DATE_COLUMN"  # a notebook that declares it loads DATA by `lib.data.load`
_SPLITS = {"HORIZON", "CUTOFFS", "STEP", "VALIDATION_DAYS"}


def check_data(
    declared: Mapping[str, Mapping[str, Parameter]],
    values: Mapping[str, Mapping[str, Any]],
    stages: Sequence[str],
) -> None:
    """Load DATA as the notebooks will, and divide its days as they will.

    Args:
        declared: the declared parameters, by stage and name.
        values: the values that differ from the declared ones, by stage and name.
        stages: the stages that will run.

    Raises:
        ParameterError: the file cannot be used as daily series, or its days are too few.
    """
    used = {
        stage: {name: p.value for name, p in declared[stage].items()} | dict(values[stage])
        for stage in stages
    }
    reading = next((v for v in used.values() if v.get("DATA") and _READS_DATA in v), None)
    if reading is None:
        return

    from lib.data import SeriesError  # pandas takes long to import

    try:
        table = _load(reading)
        for splitting in used.values():
            if splitting.keys() >= _SPLITS:
                _split(table, splitting)
    except SeriesError as error:
        raise ParameterError(f"DATA: {error}") from None


def _load(values: Mapping[str, Any]) -> pd.DataFrame:
    """Load the file; each option of `load` is the parameter of its name, in upper case."""
    from lib.data import load

    options = [name for name in inspect.signature(load).parameters if name.upper() in values]
    return load(values["DATA"], **{name: values[name.upper()] for name in options})


def _split(table: pd.DataFrame, values: Mapping[str, Any]) -> None:
    from lib.data import choose_validation_days, split_days, to_panel

    panel = to_panel(table)
    days = {"horizon": values["HORIZON"], "cutoffs": values["CUTOFFS"], "step": values["STEP"]}
    validation_days = values["VALIDATION_DAYS"] or choose_validation_days(panel, **days)
    split_days(panel, validation_days=validation_days, **days)
