__all__ = [
    "ROWS",
    "SERIES",
    "Actual",
    "ActualKept",
    "ActualsBody",
    "ActualsKept",
    "ExplanationBody",
    "ExplanationPath",
    "ExplanationQueued",
    "ExplanationState",
    "FeatureRow",
    "FieldWarning",
    "Findings",
    "Forecast",
    "ForecastRequest",
    "Health",
    "Live",
    "ModelCard",
    "Monitoring",
    "PredictRequest",
    "Prediction",
    "Problem",
    "Series",
    "check_forecast",
    "check_window",
    "decode_series",
    "example_history",
    "example_rows",
    "join_series",
    "last_features",
    "make_question",
    "read_histories",
    "read_question",
    "read_sequence",
    "read_series",
    "split_body",
]

from .actuals import Actual, ActualKept, ActualsBody, ActualsKept
from .examples import example_history, example_rows
from .explanation_query import make_question, read_question
from .explanations import (
    ExplanationBody,
    ExplanationPath,
    ExplanationQueued,
    ExplanationState,
)
from .feature_rows import read_sequence
from .forecasts import (
    ROWS,
    SERIES,
    FeatureRow,
    Forecast,
    ForecastRequest,
    Prediction,
    PredictRequest,
)
from .histories import Series, join_series, last_features, read_histories, read_series
from .monitoring import Findings, Monitoring
from .plausibility import FieldWarning, check_forecast, check_window
from .series_body import decode_series, split_body
from .status import Health, Live, ModelCard, Problem
