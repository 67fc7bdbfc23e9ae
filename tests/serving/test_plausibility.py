"""Numbers that no model can forecast from are refused, doubtful ones get a warning."""

import json

import numpy as np
import pytest

from lib.features import engineering
from serving import schemas
from serving.schemas.examples import example_rows
from serving.schemas.explanation_query import read_question
from serving.schemas.plausibility import find_errors
from serving.state import state_of
from tests.panels import lively_panel

DAYS = 200
USUAL = lively_panel(days=DAYS, series=1, missing=0.0, covariates=False).values


def rows_of(values, factor=5.0):
    dates = np.arange("2025-01-01", "2027-01-01", dtype="datetime64[D]")
    return [
        {"date": str(d), "value": None if np.isnan(v) else float(v), "fator_externo": factor}
        for d, v in zip(dates, values, strict=False)
    ]


def changed(**days):
    """The usual values with others on some days, counted back from the last: `d1` is that one."""
    values = USUAL.copy()
    for name, value in days.items():
        values[-int(name[1:])] = value
    return values


def forecast_of(client, rows, **more):
    answer = client.post("/forecast", json={"history": rows} | more)
    assert answer.status_code == 200, answer.text
    schemas.Forecast.model_validate_json(answer.data)
    medians = [day["prediction"] for day in answer.json["forecasts"][0]["forecast"]]
    return np.array(medians), answer.json.get("warnings")


def refusal_of(client, call, body):
    answer = client.post(call, json=body)
    assert answer.status_code == 422, answer.text
    return answer.json["errors"][0]


def test_forecast_of_an_ordinary_series_has_no_warning(client):
    for values in (USUAL, np.zeros(DAYS), np.full(DAYS, 50.0), np.where(USUAL > 110, USUAL, 0)):
        assert forecast_of(client, rows_of(values))[1] is None


@pytest.mark.parametrize("day", ["d1", "d2", "d10", "d30", "d65"])
@pytest.mark.parametrize("times", [1e5, -1e5, 1e12, 1e300])
def test_forecast_with_one_absurd_value_is_as_if_it_was_missing(client, day, times):
    # Without a factor: a last day with one, and no value, would be planned.
    missing, _ = forecast_of(client, rows_of(changed(**{day: np.nan}), factor=None))
    found, warnings = forecast_of(client, rows_of(changed(**{day: 100 * times}), factor=None))
    np.testing.assert_array_equal(found, missing)
    assert [warning["field"] for warning in warnings] == ["history"]
    assert "taken for an error" in warnings[0]["detail"]


def test_explanation_sees_the_history_that_the_forecast_saw(app, client):
    rows = rows_of(changed(d10=1e9))
    client.post("/request-explanation", json={"history": rows})
    job = state_of(app).jobs.claim("w")
    assert job is not None
    served = state_of(app).model.current()
    assert served is not None
    sent, _ = read_question(job.body, served.forecaster.contract)
    state_of(app).jobs.fail(job.id, "w", "not computed here")
    assert np.nanmax(np.abs(sent.panel.values)) < 1000


def test_warning_of_several_names_the_series(client):
    histories = [USUAL, changed(d10=1e9), USUAL]
    items = [
        {"series_id": f"s{i}", "history": rows_of(values)} for i, values in enumerate(histories)
    ]
    answer = client.post("/forecast", json={"series": items})
    assert [warning["field"] for warning in answer.json["warnings"]] == ["series[1].history"]


def test_find_errors_finds_single_absurd_values_alone():
    assert find_errors(USUAL).tolist() == []
    assert find_errors(changed(d1=1e9, d7=1e6, d9=1e9)).tolist() == [191, 193, 199]
    assert find_errors(changed(d1=99 * USUAL.max())).tolist() == []
    assert find_errors(np.append(np.zeros(199), 1e9)).tolist() == []  # a first sale
    assert find_errors(np.where(np.arange(200) > 190, 1e6, 1.0)).tolist() == []  # a new level
    assert find_errors(np.array([1.0, 1e9, np.nan])).tolist() == []
    assert find_errors(np.full(60, np.nan)).tolist() == []
    assert find_errors(np.array([])).tolist() == []


def test_forecast_of_values_that_the_model_cannot_reach_is_refused_or_warned_of(client):
    error = refusal_of(client, "/forecast", {"history": rows_of(-USUAL)})
    assert error["field"] == "history"
    assert "below 0" in error["detail"]
    _, warnings = forecast_of(client, rows_of(changed(d1=-3.0, d5=-2.0)))
    assert "2 of 70 values are below 0" in warnings[0]["detail"]


def test_forecast_from_few_known_days_is_warned_of(client):
    values = np.full(DAYS, np.nan)
    values[-5] = 100.0
    _, warnings = forecast_of(client, rows_of(values))
    assert "only 1 of 70 days are known" in warnings[0]["detail"]


def test_forecast_of_a_small_swing_on_a_high_level_is_warned_of(client):
    _, warnings = forecast_of(client, rows_of(1e6 + USUAL - 100))
    assert "the interval is too wide" in warnings[0]["detail"]


def test_forecast_with_a_factor_unlike_that_of_training_is_warned_of_or_refused(client):
    _, warnings = forecast_of(client, rows_of(USUAL, factor=500.0))
    assert warnings[0]["field"] == "history.fator_externo"
    history = rows_of(USUAL, factor=1e300)
    assert refusal_of(client, "/forecast", {"history": history})["field"] == "history.fator_externo"
    planned = [{"date": "2025-07-20", "fator_externo": 1e300}]
    body = {"history": rows_of(USUAL), "future": planned}
    assert refusal_of(client, "/forecast", body)["field"] == "future.fator_externo"
    assert refusal_of(client, "/request-explanation", body)["field"] == "future.fator_externo"
    planned[0]["fator_externo"] = 500.0
    _, warnings = forecast_of(client, rows_of(USUAL), future=planned)
    assert warnings[0]["field"] == "future.fator_externo"


def window(**changes):
    return {"sequence": [row | changes for row in example_rows()]}


NOTHING = dict.fromkeys(name for name in engineering.FEATURES if not name.endswith(("sin", "cos")))


def test_predict_without_a_known_value_is_refused(client):
    assert refusal_of(client, "/predict", window(**NOTHING))["field"] == "sequence"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"fator_externo": 1e300}, "sequence.fator_externo"),
        ({"lag_1": -5.0}, "sequence"),
    ],
)
def test_predict_refuses_what_the_model_cannot_forecast(client, changes, field):
    assert refusal_of(client, "/predict", window(**changes))["field"] == field


def test_predict_warns_of_what_is_doubtful(client):
    assert "warnings" not in client.post("/predict", json=window()).json
    sparse = window(**NOTHING)
    sparse["sequence"][-1]["lag_1"] = 100.0
    wild = window()
    wild["sequence"][20]["lag_1"] = 1e8
    high = window(lag_1=1e6, lag_7=1e6)
    for i, row in enumerate(high["sequence"]):
        row["lag_1"] += i % 7
    for body, text in (
        (sparse, "only 1 of 60 days are known"),
        (wild, "if it is an error"),
        (high, "the interval is too wide"),
        (window(fator_externo=500.0), "may be far off"),
    ):
        answer = client.post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        schemas.Prediction.model_validate_json(answer.data)
        assert text in json.dumps(answer.json["warnings"])


ROWS, LONGER = example_rows(), example_rows(61)


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        (ROWS[::-1], "sequence[1].dia_semana_sin"),
        ([*LONGER[:30], *LONGER[31:]], "sequence[30].dia_semana_sin"),  # a day is left out
        ([ROWS[-1]] * 60, "sequence[1].dia_semana_sin"),
        (window(dia_semana_sin=0.0, dia_semana_cos=0.0)["sequence"], "sequence[1].dia_semana_sin"),
    ],
)
def test_predict_warns_of_rows_that_are_not_one_a_day_oldest_first(client, rows, field):
    answer = client.post("/predict", json={"sequence": rows})
    assert answer.status_code == 200, answer.text
    assert answer.json["warnings"][0]["field"] == field
    assert "the oldest first" in answer.json["warnings"][0]["detail"]


def test_predict_takes_rounded_weekdays_for_what_they_are(client):
    names = ("dia_semana_sin", "dia_semana_cos")
    rows = [row | {name: round(row[name] or 0.0, 1) for name in names} for row in ROWS]
    assert "warnings" not in client.post("/predict", json={"sequence": rows}).json
