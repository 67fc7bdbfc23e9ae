"""Serve the registered model through MLflow: `mlflow models serve`, `load_model`, Spark UDFs.

MLflow runs this file when it loads a model (models-from-code), so nothing is deserialised. PyTorch
is not needed. Each input row is one series, each output row is its forecast:

| input | type | |
|---|---|---|
| `value` | list of float | consecutive days, null where missing; one known day is enough |
| `start` | string | ISO day of the first value, such as `2026-01-31` |
| `series_id` | string, optional | returned with the forecast; default: the number of the row |
| `fator_externo` | list of float, optional | as `value`, or longer: known days ahead |
| `evento_especial` | list of float, optional | the same, 0 to 1 |
| a covariate's name | list, or one value if static; optional | numbers, 0 to 1, or categories |

The output has `series_id`, `date` (list of ISO days, one for each day of the horizon) and a list of
the same length for each quantile level: `q0.05` … `q0.95`, in the unit of the series. A row may
leave out an optional list that another row has.

    curl localhost:5000/invocations -H 'Content-Type: application/json' \\
      -d '{"dataframe_records": [{"start": "2026-01-01", "value": [10.0, 12.5, null, …]}]}'
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from lib.data import Covariate, Panel, SeriesError, align_covariates, as_categories
from lib.inference.artifact import Contract
from lib.inference.served_model import ServedModel, forecast_panel


class ForecastModel(PythonModel):
    """Forecast series given as rows, in the columns that the module describes."""

    def load_context(self, context: Any) -> None:
        """Load the artifact folder `model`.

        Raises:
            ArtifactError: the artifact is altered or of another format.
        """
        self.model = ServedModel.load(context.artifacts["model"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one forecast for each row.

        Raises:
            SeriesError: naming the row (from 0) and the column.
        """
        return forecast_rows(self.model, model_input)


def forecast_rows(model: ServedModel, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the forecast of each row, in the columns that the module describes.

    Raises:
        SeriesError: naming the row (from 0) and the column.
    """
    contract = model.contract
    panel, origins = _to_panel(rows, contract)
    quantiles = forecast_panel(model, panel, origins)  # (rows, horizon, levels)
    days = panel.dates[origins][:, None] + np.arange(1, contract.horizon + 1)
    table = {
        "series_id": pd.Series(list(panel.ids), dtype=object),
        "date": pd.Series(days.astype(str).tolist(), dtype=object),
    }
    for i, level in enumerate(contract.quantiles):
        table[f"q{level:g}"] = pd.Series(quantiles[..., i].tolist(), dtype=object)
    return pd.DataFrame(table)


class _Series(NamedTuple):
    """One row: its name, its days from the first value to the horizon, and the columns of them."""

    name: str
    dates: np.ndarray  # (days,) datetime64[D]
    value: np.ndarray  # (days,) NaN over the horizon
    factor: np.ndarray  # (days,)
    event: np.ndarray  # (days,)
    covariates: dict[str, list[Any]]  # (days,) each, None where unknown


def describe_columns(contract: Contract) -> list[dict[str, Any]]:
    """Return the covariates that a row may have; holidays come by themselves."""
    described = contract.settings.get("covariates", [])
    return [item for item in described if item["kind"] != "holiday"]


def _to_panel(rows: pd.DataFrame, contract: Contract) -> tuple[Panel, np.ndarray]:
    """Return the rows as a panel, and the row numbers of the forecast origins (n,)."""
    if rows.empty:
        raise SeriesError("input: there are no rows, expected one a series")
    missing = [name for name in ("start", "value") if name not in rows]
    if missing:
        raise SeriesError(f"input: columns {missing} are missing, got {list(rows.columns)}")
    series = [_read_row(row, i, contract) for i, row in enumerate(rows.to_dict("records"))]
    lengths = [len(one.dates) for one in series]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    panel = Panel(
        tuple(one.name for one in series),
        offsets,
        np.concatenate([one.dates for one in series]),
        np.concatenate([one.value for one in series]),
        np.concatenate([one.factor for one in series]),
        np.concatenate([one.event for one in series]),
        tuple(_join(series, item) for item in describe_columns(contract)),
    )
    panel = align_covariates(panel, contract.settings.get("covariates", []))
    return panel, offsets[1:] - 1 - contract.horizon


def _join(series: list[_Series], item: dict[str, Any]) -> Covariate:
    """Return a covariate of all rows, one after the other."""
    name, role, kind = item["name"], item["role"], item["kind"]
    cells = [cell for one in series for cell in one.covariates[name]]
    if kind != "category":
        return Covariate(name, role, kind, np.array(cells, dtype=np.float64))
    codes, labels = pd.factorize(as_categories(pd.Series(cells)), sort=True)
    values = np.where(codes < 0, np.nan, codes.astype(np.float64))
    return Covariate(name, role, kind, values, tuple(str(label) for label in labels))


def _read_covariate(cell: Any, row: int, item: dict[str, Any], days: int) -> list[Any]:
    """Return the cells of a covariate over all days, None where unknown."""
    name = item["name"]
    if item["role"] == "static":
        return _check_cells([cell] * days, row, item)
    if cell is None or (np.isscalar(cell) and pd.isna(cell)):
        return [None] * days
    if isinstance(cell, str) or not np.iterable(cell) or len(cell) > days:
        raise SeriesError(
            f"input: row {row}, column {name!r}: expected a list of at most {days} days, the "
            "length of 'value' and the horizon"
        )
    cells = list(cell)
    return _check_cells([*cells, *[None] * (days - len(cells))], row, item)


def _check_cells(cells: list[Any], row: int, item: dict[str, Any]) -> list[Any]:
    cells = [None if cell is None or pd.isna(cell) else cell for cell in cells]
    if item["kind"] != "category":
        wrong = [cell for cell in cells if isinstance(cell, str)]
        if wrong:
            raise SeriesError(
                f"input: row {row}, column {item['name']!r}: got {wrong[0]!r}, expected a number, "
                "or null where it is not known"
            )
    return cells


def _read_row(row: dict[str, Any], number: int, contract: Contract) -> _Series:
    value = _numbers(row["value"], number, "value")
    if np.isnan(value[-contract.max_context :]).all():
        raise SeriesError(
            f"input: row {number}, column 'value': got {len(value)} days, "
            f"{np.isfinite(value).sum()} of them known, expected a known one among the last "
            f"{contract.max_context}. Send a known day"
        )
    days = len(value) + contract.horizon
    factor = _known_days(row.get("fator_externo"), number, "fator_externo", days)
    event = _known_days(row.get("evento_especial"), number, "evento_especial", days)
    if ((event < 0) | (event > 1)).any():
        raise SeriesError(f"input: row {number}, column 'evento_especial': expected 0 to 1")
    name = row.get("series_id")
    return _Series(
        name=str(number) if name is None or pd.isna(name) else str(name),
        dates=_first_day(row["start"], number) + np.arange(days),
        value=np.append(value, np.full(contract.horizon, np.nan)),
        factor=factor,
        event=event,
        covariates={
            item["name"]: _read_covariate(row.get(item["name"]), number, item, days)
            for item in describe_columns(contract)
        },
    )


def _first_day(cell: Any, row: int) -> np.datetime64:
    try:
        day = np.datetime64(cell, "D")
    except (ValueError, TypeError):
        day = np.datetime64("NaT")
    if np.isnat(day):
        raise SeriesError(
            f"input: row {row}, column 'start': got {cell!r}, expected an ISO day such as "
            "2026-01-31"
        )
    return day


def _known_days(cell: Any, row: int, name: str, days: int) -> np.ndarray:
    """Return the numbers of a covariate over all days (days,), NaN where unknown."""
    padded = np.full(days, np.nan)
    if cell is None or (np.isscalar(cell) and pd.isna(cell)):
        return padded
    numbers = _numbers(cell, row, name)
    if len(numbers) > days:
        raise SeriesError(
            f"input: row {row}, column {name!r}: got {len(numbers)} days, expected at most "
            f"{days}, the length of 'value' and the horizon"
        )
    padded[: len(numbers)] = numbers
    return padded


def _numbers(cell: Any, row: int, name: str) -> np.ndarray:
    """Return a list of numbers and nulls as (n,) float64, NaN where null."""
    try:
        numbers = np.array(cell, dtype=np.float64)
    except (ValueError, TypeError):
        numbers = np.array(np.nan)
    if numbers.ndim != 1 or np.isinf(numbers).any():
        raise SeriesError(
            f"input: row {row}, column {name!r}: expected a list of finite numbers, null where a "
            "day is missing"
        )
    return numbers


set_model(ForecastModel())
