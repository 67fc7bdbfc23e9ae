"""Checks the files of a run before any kernel starts: an error then needs no notebook around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
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
    """Load DATA and FUTURE as the notebooks will, and divide the days as they will.

    Args:
        declared: the declared parameters, by stage and name.
        values: the values that differ from the declared ones, by stage and name.
        stages: the stages that will run.

    Raises:
        ParameterError: a file cannot be used, or its days are too few.
    """
    used = {
        stage: {name: p.value for name, p in declared[stage].items()} | dict(values[stage])
        for stage in stages
    }
    check_future(used)
    reading = next((v for v in used.values() if v.get("DATA") and _READS_DATA in v), None)
    if reading is None:
        return

    from lib.data import SeriesError, load, load_vintages  # pandas takes long to import

    try:
        table = load(reading["DATA"], **_options(load, reading))
        for splitting in used.values():
            if splitting.keys() >= _SPLITS:
                _split(table, splitting)
    except SeriesError as error:
        raise ParameterError(f"DATA: {error}") from None
    if reading.get("FUTURE"):
        try:
            load_vintages(reading["FUTURE"], table, **_options(load_vintages, reading))
        except SeriesError as error:  # which names the parameter
            raise ParameterError(str(error)) from None


def check_future(values: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that covariates as they were known have a backtest to be used in.

    Args:
        values: of all parameters, by stage and name.

    Raises:
        ParameterError: FUTURE is given without DATA, or with COVARIATES=0.
    """
    if not any(each.get("FUTURE") for each in values.values()):
        return
    if not any(each.get("DATA") for each in values.values()):
        raise ParameterError("FUTURE: expected DATA beside it, the file of the past")
    if any(each.get("COVARIATES") is False for each in values.values()):
        raise ParameterError(
            "FUTURE: COVARIATES=0 withholds every covariate of the target days; leave out one of "
            "the two"
        )


def _options(load: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a function that reads: the parameters of their names, in upper case."""
    names = [name for name in inspect.signature(load).parameters if name.upper() in values]
    return {name: values[name.upper()] for name in names}


def _split(table: pd.DataFrame, values: Mapping[str, Any]) -> None:
    from lib.data import choose_validation_days, split_days, to_panel

    panel = to_panel(table)
    days = {"horizon": values["HORIZON"], "cutoffs": values["CUTOFFS"], "step": values["STEP"]}
    validation_days = values["VALIDATION_DAYS"] or choose_validation_days(panel, **days)
    split_days(panel, validation_days=validation_days, **days)
