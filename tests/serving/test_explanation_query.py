"""Explanations of raw histories: the very forecast that `/forecast` gives."""

import json

import numpy as np
import pytest

from lib.inference.served_model import ServedModel
from serving.explanations.explainer import Explainer
from serving.schemas.examples import example_history
from serving.state import state_of
from tests.panels import TINY_MODEL
from tests.serving.live import Shelf

FUTURE = [{"date": "2026-04-05", "fator_externo": 3.0}]


def dated(**more):
    return {"history": example_history(), "future": FUTURE, **more}


# shap draws the picture in a way that matplotlib is going to drop.
@pytest.mark.filterwarnings("ignore:The set_.* function will be:PendingDeprecationWarning")
@pytest.mark.parametrize("day", [None, 3, 0])
def test_explanation_output_is_what_forecast_answers(app, client, day):
    more = {} if day is None else {"horizon_day": day}
    forecast = client.post("/forecast", json=dated()).json["forecasts"][0]["forecast"]
    predictions = [row["prediction"] for row in forecast]
    answer = client.post("/request-explanation", json=dated(**more))
    assert answer.status_code == 202, answer.text
    state = state_of(app)
    job = state.jobs.claim("w")
    assert job is not None
    assert job.id == answer.json["explanation_id"]
    result, png = Explainer(state.settings)(job.body, job.model_version)
    expected = np.mean(predictions) if day == 0 else predictions[(day or 1) - 1]
    assert result["output_value"] == pytest.approx(expected, rel=1e-6)
    assert result["base_value"] + sum(result["by_feature"].values()) == pytest.approx(
        expected, rel=1e-5
    )
    assert result["horizon_day"] == (1 if day is None else day)
    assert png.startswith(b"\x89PNG")


def test_history_days_that_no_forecast_looks_at_make_no_other_question(client):
    answers = []
    for years in (1, 20):
        older = [{"date": f"{1990 + n}-07-01", "value": 1.0} for n in range(years)]
        body = dated() | {"history": older + example_history()}
        answers.append(client.post("/request-explanation", json=body).json)
    assert answers[0]["explanation_id"] == answers[1]["explanation_id"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"horizon_day": 4}, "horizon_day"),
        ({"horizon_day": -1}, "horizon_day"),
        ({"context": 10}, "context"),
        ({"history": example_history()[:5]}, "history"),
        ({"history": []}, "history"),
        ({"history": [*example_history(), {"date": "2026-01-05", "value": 1.0}]}, "history[90]"),
        ({"history": [{"date": "2026-01-05", "value": "1"}]}, "history[0].value"),
        ({"future": [{"date": "2027-01-05"}]}, "future[0].date"),
    ],
)
def test_history_that_forecast_refuses_is_refused_by_field(client, change, field):
    answer = client.post("/request-explanation", json=dated() | change)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"].startswith(field)


def test_horizon_day_goes_with_a_history_only(client):
    answer = client.post("/request-explanation", json={"trace_id": "t", "horizon_day": 1})
    assert answer.status_code == 422
    assert "goes together with history only" in json.dumps(answer.json)


def test_history_without_a_model_is_unavailable(make_app):
    client = make_app(Shelf()).test_client()
    assert client.post("/request-explanation", json=dated()).status_code == 503


def test_tiny_model_has_the_days_used_here():
    assert ServedModel.load(TINY_MODEL).contract.horizon == 3
