"""Explanations of raw histories: the very forecast that `/forecast` gives."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lib.data.covariate_alignment import describe_covariates
from lib.data.covariates import Covariate
from lib.explanation.explainer import Explainer as Shapley
from lib.features.effect_fitting import fit_effects
from lib.features.engineering import FEATURES, YEAR
from lib.inference.effects import LearnedEffects
from lib.inference.served_model import ServedModel, forecast_panel
from serving.explanations.explainer import Explainer
from serving.schemas.examples import example_history
from serving.schemas.explanation_query import make_question
from serving.schemas.histories import read_histories
from serving.state import state_of
from tests.panels import TINY_MODEL, panel_of
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


def shop_with_covariates(days=900):
    """A tiny model that has learned what five covariates do, and the rows of its series."""
    rng = np.random.default_rng(5)
    names = ("price", "promo", "rain", "wind", "hours")
    columns = {name: np.round(rng.normal(5, 1, days), 2) for name in names}
    columns["promo"] = (rng.random(days) < 0.1).astype(float)
    per_unit = {"price": -0.1, "promo": 0.3, "rain": 0.02, "wind": 0.03, "hours": 0.05}
    effect = sum(columns[name] * by for name, by in per_unit.items())
    values = np.round(200 * np.exp(effect + rng.normal(0, 0.02, days)), 2)
    covariates = [
        Covariate(name, "known", "event" if name == "promo" else "number", columns[name])
        for name in names
    ]
    panel = replace(panel_of(values, first="2023-01-01"), covariates=tuple(covariates))
    model = ServedModel.load(TINY_MODEL)
    settings = model.contract.settings | {"covariates": describe_covariates(panel)}
    model.contract = replace(model.contract, settings=settings)
    effects = fit_effects(panel, panel.dates[-1])
    if effects is None:
        pytest.fail("no covariate has an effect")
    spread = np.ones((len(names) + 1, model.contract.horizon, 3))
    model.covariates = LearnedEffects(effects, spread, 1)
    rows = [
        {"date": str(day), "value": value, **{n: float(columns[n][i]) for n in names}}
        for i, (day, value) in enumerate(zip(panel.dates, values.tolist(), strict=True))
    ]
    ahead = [{name: value for name, value in row.items() if name != "value"} for row in rows[-3:]]
    return model, {"history": rows[:-3], "future": ahead}, names


@pytest.mark.filterwarnings("ignore:The set_.* function will be:PendingDeprecationWarning")
@pytest.mark.parametrize("series", ["s0", "another"])
def test_explanation_of_a_series_with_covariates_is_what_forecast_answers(settings, series):
    model, sent, names = shop_with_covariates()
    contract = model.contract
    body = make_question(sent | {"series_id": series, "horizon_day": 2}, contract)
    assert 2 * YEAR < len(body["history"]) < len(sent["history"])
    explainer = Explainer(settings)
    explainer._models[1] = Shapley(model, own_windows=4)
    result, png = explainer(json.loads(json.dumps(body)), 1)
    item = sent | {"series_id": series}
    histories = read_histories([item], contract, contract.max_context, "")
    expected = forecast_panel(model, histories.panel, histories.origins)[0, 1, 1]
    assert result["output_value"] == pytest.approx(expected, rel=1e-5)
    assert list(result["by_feature"]) == [*FEATURES, *names]
    total = result["base_value"] + sum(result["by_feature"].values())
    assert total == pytest.approx(expected, rel=1e-5)
    assert result["covariates"]["price"] == sent["future"][1]["price"]
    assert result["base_of_series"]
    assert png.startswith(b"\x89PNG")


def test_question_keeps_the_name_of_the_series(client):
    answers = [
        client.post("/request-explanation", json=dated(**more)).json["explanation_id"]
        for more in ({}, {"series_id": "north"}, {"series_id": "south"})
    ]
    assert len(set(answers)) == 3


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
        ({"history": [row | {"value": None} for row in example_history()]}, "history"),
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
