"""The registered model as MLflow serves it: `mlflow models serve`, `load_model`, Spark UDFs.

MLflow runs this file when it loads a model (models-from-code), so nothing is deserialised. Torch
is not imported. One row in is one series, one row out is its forecast:

| in | type | |
|---|---|---|
| `value` | list of float | consecutive days, null where missing, at least the context length |
| `start` | string | ISO day of the first value, such as `2026-01-31` |
| `series_id` | string, optional | comes back in the answer; default: the number of the row |
| `fator_externo` | list of float, optional | as `value`, or longer: known days to come |
| `evento_especial` | list of float, optional | the same, 0 to 1 |

Out come `series_id`, `date` (list of ISO days, one a day of the horizon) and one list of as many
floats for each quantile level: `q0.05` … `q0.95`, raw units. A row may leave out an optional list
that another row has.

    curl localhost:5000/invocations -H 'Content-Type: application/json' \\
      -d '{"dataframe_records": [{"start": "2026-01-01", "value": [10.0, 12.5, null, …]}]}'
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from lib.data import Panel, SeriesError
from lib.inference.artifact import Contract
from lib.inference.served_model import ServedModel, forecast_panel


class ForecastModel(PythonModel):
    """Forecasts of series given as rows; the columns are described above."""

    def load_context(self, context: Any) -> None:
        """Load the artifact folder `model`. Raises ArtifactError where it must not be served."""
        self.forecaster = ServedModel.load(context.artifacts["model"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One forecast a row. Raises SeriesError naming the row (from 0) and the column."""
        return forecast_rows(self.forecaster, model_input)


def forecast_rows(forecaster: ServedModel, rows: pd.DataFrame) -> pd.DataFrame:
    """The forecast of each row, in the columns described above. Raises SeriesError."""
    contract = forecaster.contract
    panel, origins = _panel(rows, contract)
    quantiles = forecast_panel(forecaster, panel, origins)  # (rows, horizon, levels)
    days = panel.dates[origins][:, None] + np.arange(1, contract.horizon + 1)
    table = {
        "series_id": pd.Series(list(panel.ids), dtype=object),
        "date": pd.Series(days.astype(str).tolist(), dtype=object),
    }
    for i, level in enumerate(contract.quantiles):
        table[f"q{level:g}"] = pd.Series(quantiles[..., i].tolist(), dtype=object)
    return pd.DataFrame(table)


def signature(contract: Contract) -> ModelSignature:
    """The columns in and out, as MLflow checks them."""
    # MLflow refuses whole numbers and nulls for `double`, and a row without a list that another
    # row has. `_planned` and `_numbers` check them here.
    numbers = Array(DataType.double)
    inputs = [
        ColSpec(DataType.string, "start"),
        ColSpec(Array(AnyType()), "value"),
        ColSpec(DataType.string, "series_id", required=False),
        ColSpec(AnyType(), "fator_externo", required=False),
        ColSpec(AnyType(), "evento_especial", required=False),
    ]
    days = Array(DataType.string)
    outputs = [ColSpec(DataType.string, "series_id"), ColSpec(days, "date")]
    outputs += [ColSpec(numbers, f"q{level:g}") for level in contract.quantiles]
    return ModelSignature(Schema([*inputs]), Schema([*outputs]))


def example(contract: Contract) -> pd.DataFrame:
    """Rows that a model of this contract can forecast: two, so that no batch of one is fixed."""
    days = np.arange(contract.max_context)
    wave = 100 + 10 * np.sin(2 * np.pi * days / 7)
    event = np.zeros(contract.max_context + contract.horizon)
    row = {"start": "2024-01-01", "fator_externo": [0.0] * len(wave)}
    return pd.DataFrame(
        [
            row | {"series_id": "a", "value": wave.tolist(), "evento_especial": event.tolist()},
            row | {"series_id": "b", "value": (2 * wave).tolist(), "evento_especial": [0.0]},
        ]
    )


def _panel(rows: pd.DataFrame, contract: Contract) -> tuple[Panel, np.ndarray]:
    """The rows as a panel of history and horizon each, and the row numbers of the last values."""
    if rows.empty:
        raise SeriesError("input: there are no rows, expected one a series")
    missing = [name for name in ("start", "value") if name not in rows]
    if missing:
        raise SeriesError(f"input: columns {missing} are missing, got {list(rows.columns)}")
    ids, dates, columns, known = [], [], [], []
    for i, row in enumerate(rows.to_dict("records")):
        value = _numbers(row["value"], i, "value")
        if len(value) < contract.context_length or np.isnan(value[-contract.max_context :]).all():
            raise SeriesError(
                f"input: row {i}, column 'value': got {len(value)} days, "
                f"{np.isfinite(value).sum()} of them known, expected at least "
                f"{contract.context_length} days and a known one among the last "
                f"{contract.max_context}. Send a longer history"
            )
        days = len(value) + contract.horizon
        try:
            first = np.datetime64(row["start"], "D")
        except (ValueError, TypeError):
            first = np.datetime64("NaT")
        if np.isnat(first):
            raise SeriesError(
                f"input: row {i}, column 'start': got {row['start']!r}, expected an ISO day "
                "such as 2026-01-31"
            )
        factor = _planned(row.get("fator_externo"), i, "fator_externo", days)
        event = _planned(row.get("evento_especial"), i, "evento_especial", days)
        if ((event < 0) | (event > 1)).any():
            raise SeriesError(f"input: row {i}, column 'evento_especial': expected 0 to 1")
        name = row.get("series_id")
        ids.append(str(i) if name is None or name is pd.NA or name != name else str(name))
        dates.append(first + np.arange(days))
        columns.append((np.append(value, np.full(contract.horizon, np.nan)), factor, event))
        known.append(len(value))
    offsets = np.append(0, np.cumsum([len(d) for d in dates])).astype(np.int64)
    value, factor, event = (np.concatenate(column) for column in zip(*columns, strict=True))
    panel = Panel(tuple(ids), offsets, np.concatenate(dates), value, factor, event)
    return panel, offsets[:-1] + np.array(known) - 1


def _planned(cell: Any, row: int, name: str, days: int) -> np.ndarray:
    """Numbers of the history and of some days after it, NaN where nothing is said. → (days,)."""
    whole = np.full(days, np.nan)
    if cell is None or (np.isscalar(cell) and pd.isna(cell)):
        return whole
    numbers = _numbers(cell, row, name)
    if len(numbers) > days:
        raise SeriesError(
            f"input: row {row}, column {name!r}: got {len(numbers)} days, expected at most "
            f"{days}, the length of 'value' and the horizon"
        )
    whole[: len(numbers)] = numbers
    return whole


def _numbers(cell: Any, row: int, name: str) -> np.ndarray:
    """A list of numbers and nulls. → (n,) float64, NaN where null."""
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
