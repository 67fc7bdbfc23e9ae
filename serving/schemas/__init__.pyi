__all__ = [
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
    "ForecastCall",
    "ForecastRequest",
    "Health",
    "Histories",
    "Live",
    "ModelCard",
    "Monitoring",
    "Plan",
    "PredictRequest",
    "Prediction",
    "Problem",
    "Series",
    "check_forecast",
    "check_window",
    "example_covariates",
    "example_history",
    "example_rows",
    "join_series",
    "last_features",
    "least_value",
    "make_question",
    "name_levels",
    "read_forecast",
    "read_plan",
    "read_question",
    "read_sequence",
]

from .actuals import Actual, ActualKept, ActualsBody, ActualsKept
from .examples import example_covariates, example_history, example_rows
from .explanation_query import make_question, read_question
from .explanations import (
    ExplanationBody,
    ExplanationPath,
    ExplanationQueued,
    ExplanationState,
)
from .feature_rows import read_sequence
from .forecast_body import ForecastCall, name_levels, read_forecast
from .forecasts import (
    FeatureRow,
    Forecast,
    ForecastRequest,
    Prediction,
    PredictRequest,
)
from .histories import Histories, Series, join_series, last_features
from .monitoring import Findings, Monitoring
from .plans import Plan, least_value, read_plan
from .plausibility import FieldWarning, check_forecast, check_window
from .status import Health, Live, ModelCard, Problem
