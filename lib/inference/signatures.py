"""The columns of a registered model's rows, as MLflow checks them, and rows to try it with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from lib.inference.artifact import Contract
from lib.inference.pyfunc import describe_columns


def signature(contract: Contract) -> ModelSignature:
    """Return the input and output columns, as MLflow checks them."""
    # MLflow refuses whole numbers and nulls for `double`, and a row without a list that another
    # row has. `lib.inference.pyfunc` checks them.
    numbers = Array(DataType.double)
    inputs = [
        ColSpec(DataType.string, "start"),
        ColSpec(Array(AnyType()), "value"),
        ColSpec(DataType.string, "series_id", required=False),
        ColSpec(AnyType(), "fator_externo", required=False),
        ColSpec(AnyType(), "evento_especial", required=False),
        *(ColSpec(AnyType(), item["name"], required=False) for item in describe_columns(contract)),
    ]
    days = Array(DataType.string)
    outputs = [ColSpec(DataType.string, "series_id"), ColSpec(days, "date")]
    outputs += [ColSpec(numbers, f"q{level:g}") for level in contract.quantiles]
    return ModelSignature(Schema([*inputs]), Schema([*outputs]))


def example(contract: Contract) -> pd.DataFrame:
    """Return two rows that a model of this contract forecasts.

    One row would let MLflow fix the batch size at one.
    """
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
