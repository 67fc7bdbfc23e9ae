"""Find numbers that a model cannot forecast from, or not well: refuse them, or warn of them.

A warning goes into `warnings` of the answer. Ordinary series have none, and their forecasts are
not changed by anything here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lib.features import FEATURES
from lib.inference import Contract
from serving.http import invalid

_SPARSE = 14  # known days below which an interval rests on too little
_LARGE = 100.0  # times the next largest value: an error, or what no model has seen
_ISOLATED = 1_000.0  # times: it would decide over the whole forecast
_ERRORS = 3  # isolated values of one history; more are no errors
_ROBUST = 28  # known days that it takes to call one of them an error
_FLAT = 1e-3  # share of the level below which the model does not see a variation
_RECENT = 56  # days whose variation the model takes as its scale
_UNUSUAL, _ABSURD = 10.0, 1e6  # standard deviations of the factor in training
_LAG_1, _LAG_7 = FEATURES.index("lag_1"), FEATURES.index("lag_7")
_WEEKDAY = slice(FEATURES.index("dia_semana_sin"), FEATURES.index("dia_semana_cos") + 1)
_MEAN_7, _FACTOR = FEATURES.index("media_movel_7"), FEATURES.index("fator_externo")


class FieldWarning(NamedTuple):
    """A doubt about one field of a request."""

    field: str
    detail: str


def find_errors(values: np.ndarray) -> np.ndarray:
    """Return the indices of single values a thousand times as large as all others.

    Args:
        values: (days,), NaN where missing.
    """
    known = values[np.isfinite(values)]
    large = _largest(known)
    for count in range(1, min(_ERRORS, len(large) - 1) + 1):
        if len(known) >= _ROBUST and large[-count] / _ISOLATED > large[-count - 1] > 0:
            return np.flatnonzero(np.abs(values) >= large[-count])
    return np.empty(0, dtype=np.int64)


def check_values(values: np.ndarray, contract: Contract, field: str) -> list[FieldWarning]:
    """Warn of the known values that a model looks at.

    Args:
        values: (days,), NaN where missing; one at least is known.
        contract: of the model.
        field: for refusals and warnings.

    Raises:
        RequestError: 422, where all lie below the lowest value that the model forecasts.
    """
    known = values[np.isfinite(values)]
    found = []
    floor = contract.scaling.get("floor")
    if floor is not None and np.minimum.reduce(known) < floor:
        below = int((known < floor).sum())
        if below == len(known):
            raise invalid(field, f"all values are below {floor:g}, the lowest of this model")
        found.append(
            f"{below} of {len(known)} values are below {floor:g}, the lowest that this model "
            "forecasts"
        )
    if len(known) < min(_SPARSE, len(values)):  # where none is missing, the series is young
        found.append(
            f"only {len(known)} of {len(values)} days are known: the interval may be far too narrow"
        )
    large = _largest(known)
    if len(large) > 1 and large[-1] / _LARGE > large[-2] > 0:
        found.append(
            f"one value is {large[-1]:g}, and no other is above {large[-2]:g}: if it is an error, "
            "send null in its place"
        )
    recent = values[-_RECENT:]
    center, spread = _center_and_spread(recent) if _may_be_flat(recent) else (0.0, 0.0)
    if 0 < spread < _FLAT * abs(center):
        found.append(
            f"the values differ by {spread:.3g} around {center:.6g}, less than the model can tell "
            "apart: the interval is too wide. Send them less a constant, and add it to the forecast"
        )
    return [FieldWarning(field, detail) for detail in found]


def check_factor(factor: np.ndarray, contract: Contract, field: str) -> list[FieldWarning]:
    """Warn of a factor unlike that of training.

    Args:
        factor: (days,), NaN where not known.
        contract: of the model.
        field: for refusals and warnings.

    Raises:
        RequestError: 422, where it is a million standard deviations off.
    """
    mean, deviation = (contract.scaling.get(name) for name in ("factor_mean", "factor_std"))
    if mean is None or not deviation:
        return []
    # NaN where nothing is known: no comparison with it holds.
    extremes = (float(np.fmax.reduce(factor)), float(np.fmin.reduce(factor)))
    size, farthest = max((abs(x / deviation - mean / deviation), x) for x in extremes)
    if not size > _UNUSUAL:
        return []
    text = (
        f"is {farthest:g} on one day; the model has learned with {mean:g} "
        f"± {deviation:g} (standard deviation)"
    )
    if size > _ABSURD:
        raise invalid(field, text)
    return [FieldWarning(field, f"{text}: the forecast may be far off")]


def check_window(rows: np.ndarray, contract: Contract) -> list[FieldWarning]:
    """Warn of the rows of a `/predict`, (days, 11): of their days, and the values that they hold.

    Raises:
        RequestError: 422, as `check_values` and `check_factor` do, and where no value is known.
    """
    columns = (rows[:, column] for column in (_LAG_1, _LAG_7, _MEAN_7))
    values = next((column for column in columns if np.isfinite(column).any()), None)
    if values is None:
        raise invalid("sequence", "expected a known value in some row, got none")
    factor = check_factor(rows[:, _FACTOR], contract, "sequence.fator_externo")
    return _check_days(rows) + check_values(values, contract, "sequence") + factor


def _check_days(rows: np.ndarray) -> list[FieldWarning]:
    """Warn of rows that are not one a day, the oldest first: of which day they are is unknown."""
    odd = _find_odd_day(np.ascontiguousarray(rows[:, _WEEKDAY]).tobytes())
    if odd is None:
        return []
    return [
        FieldWarning(
            f"sequence[{odd}].{FEATURES[_WEEKDAY][0]}",
            "its weekday is not the one after that of the row before: expected a row a day, the "
            "oldest first. The forecast may be of another day, and far off",
        )
    ]


# Requests of one day hold the same days.
@lru_cache(maxsize=512)
def _find_odd_day(weekdays: bytes) -> int | None:
    """Return the first row whose weekday does not follow the one before, None without any."""
    sine, cosine = np.frombuffer(weekdays).reshape(-1, 2).T
    days = np.rint(np.arctan2(sine, cosine) * 7 / (2 * np.pi)).astype(np.int64)
    odd = np.flatnonzero((np.diff(days) - 1) % 7)
    return int(odd[0]) + 1 if len(odd) else None


def check_forecast(quantiles: np.ndarray, largest: float, field: str) -> list[FieldWarning]:
    """Warn of a forecast that its history does not suggest.

    Args:
        quantiles: (days, levels), in the units of the series.
        largest: absolute value that the model has looked at.
        field: for the warning.
    """
    reaches = float(np.abs(quantiles).max())
    if reaches / _LARGE <= largest or not largest:
        return []
    detail = f"the forecast reaches {reaches:g}, and no value sent is above {largest:g}"
    return [FieldWarning(field, f"{detail}: do not rely on it")]


def _largest(known: np.ndarray) -> np.ndarray:
    """Return the largest absolute values, rising: one more than may be errors."""
    return np.sort(np.abs(known))[-_ERRORS - 1 :]


def _may_be_flat(values: np.ndarray) -> bool:
    """Tell whether it is worth measuring the spread of values, by their range alone.

    The mean absolute deviation is at least the range divided by the number of values.
    """
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    return high - low < _FLAT * len(values) * max(abs(low), abs(high))


def _center_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Return mean and mean absolute deviation of the known values, 0 without any."""
    known = values[np.isfinite(values)]
    count = len(known)
    if not count:
        return 0.0, 0.0
    unit = float(np.abs(known).max()) or 1.0  # or the sum of huge values would overflow
    known = known / unit
    center = float(known.sum()) / count
    return center * unit, float(np.abs(known - center).sum()) / count * unit
