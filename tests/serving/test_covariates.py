"""/forecast with covariates by name: how they are read, what is refused, what is in the panel."""

import json

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from lib.data import align_covariates
from lib.inference.artifact import Contract
from lib.pipeline.retraining_data import gather_data
from lib.settings import get_settings
from lib.storage.tables import predictions
from serving.http.problems import RequestError
from serving.schemas.covariates import CovariateFields
from serving.schemas.forecast_body import read_forecast
from serving.schemas.histories import join_series, read_histories
from serving.schemas.series_body import HistoryDay, decode_series, split_body
from serving.state import state_of
from tests.covariate_model import DESCRIBED, described, model_with_covariates
from tests.panels import TINY_MODEL
from tests.serving.live import Shelf

KINDS = ("number:price", "event:promo", "category:weather")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model_with_covariates(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def contract(folder):
    return Contract.read(folder)


@pytest.fixture
def client(make_app, folder):
    shelf = Shelf(production=7)
    shelf.folders[7] = folder
    return make_app(shelf).test_client()


def rows(count=90, **changes):
    days = np.datetime64("2026-01-01") + np.arange(count)
    return [
        {
            "date": str(day),
            "value": 100.0 + i % 7,
            "price": 1.0 + i % 3,
            "promo": i % 2 == 0,
            "weather": "Sun",
            "visits": 10 * i,
        }
        | changes
        for i, day in enumerate(days)
    ]


def ahead(**cells):
    return {"date": "2026-04-01"} | cells  # the day after 90 days


def body(**changes):
    series = {"series_id": "a", "history": rows(), "static": {"region": "south"}} | changes
    return {"series": [series], "horizon": 2}


def panel_of(sent, contract):
    call = read_forecast(json.dumps(sent).encode(), contract)
    return join_series(call.series, contract), call


def test_panel_has_the_covariates_of_the_contract_in_its_order(contract):
    sent = body(future=[ahead(price=9.0, promo=1, weather="Rain")])
    histories, call = panel_of(sent, contract)
    covariates = {c.name: c for c in histories.panel.covariates}
    assert list(covariates) == [item["name"] for item in DESCRIBED]
    last = histories.origins[0]
    assert covariates["price"].values[last - 1 : last + 2].tolist() == [2.0, 3.0, 9.0]
    assert covariates["promo"].values[last : last + 2].tolist() == [0.0, 1.0]
    assert covariates["weather"].values[last : last + 2].tolist() == [1.0, 0.0]
    assert covariates["visits"].values[last] == 890
    assert np.isnan(covariates["visits"].values[last + 1])
    assert (covariates["region"].values == 1.0).all()
    holiday = covariates["holiday"]
    good_friday = histories.panel.dates == np.datetime64("2026-04-03")
    assert holiday.labels[int(holiday.values[good_friday][0])] == "Good Friday"
    assert not call.series[0].warnings


def test_forecast_of_one_series_and_of_many_agree(client):
    many = body(future=[ahead(price=2.5)])
    answer = client.post("/forecast", json=many)
    assert answer.status_code == 200, answer.text
    alone = client.post("/forecast", json={**many["series"][0], "horizon": 2})
    assert alone.status_code == 200, alone.text
    assert alone.json["forecasts"] == answer.json["forecasts"]


def test_covariates_may_be_left_out_and_null(client, contract):
    history = [{"date": row["date"], "value": row["value"]} for row in rows()]
    assert client.post("/forecast", json={"history": history}).status_code == 200
    sent = body(history=rows(price=None, weather=None), static={"region": None})
    histories, _ = panel_of(sent, contract)
    unknown = {c.name for c in histories.panel.covariates if np.isnan(c.values).all()}
    assert unknown == {"price", "weather", "region"}


def test_rows_behind_the_last_value_with_a_covariate_are_planned(contract):
    history = [*rows(), ahead(value=None, price=5.0)]
    histories, call = panel_of(body(history=history), contract)
    assert call.series[0].days == 90
    price = histories.panel.covariates[0].values
    assert price[histories.origins[0] + 1] == 5.0
    history[-1] = ahead(value=None, visits=5.0)  # a past covariate plans nothing
    assert panel_of(body(history=history), contract)[1].series[0].days == 91


def test_typed_and_strict_rows_agree(contract):
    fast = body()
    slow = body(series_id="a: b")  # a colon takes the slow way
    _, parts = split_body(json.dumps(fast).encode())
    assert parts is not None
    decoded = decode_series(parts[0], "", ("price", "promo", "weather", "visits"))
    assert isinstance(decoded["history"][0], HistoryDay)
    one, other = panel_of(fast, contract)[0].panel, panel_of(slow, contract)[0].panel
    for a, b in zip(one.covariates, other.covariates, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"history": rows(prize=1.0)}, "series[0].history[0].prize", "did you mean 'price'?"),
        ({"history": rows(price="dear")}, "series[0].history[0].price", "expected a number"),
        ({"history": rows(price=True)}, "series[0].history[0].price", "got a boolean"),
        ({"history": rows(promo=2)}, "series[0].history[0].promo", "from 0 to 1"),
        ({"history": rows(weather=True)}, "series[0].history[0].weather", "name of a category"),
        ({"history": rows(region="north")}, "series[0].history[0].region", "in `static`"),
        ({"history": rows(holiday="")}, "series[0].history[0].holiday", "is not one of"),
        ({"future": [ahead(visits=1.0)]}, "series[0].future[0].visits", "up to today only"),
        ({"future": [ahead(prize=1.0)]}, "series[0].future[0].prize", "did you mean 'price'?"),
        ({"static": {"price": 1.0}}, "series[0].static.price", "is not one of"),
        ({"static": {"regoin": "s"}}, "series[0].static.regoin", "did you mean 'region'?"),
        ({"static": {"region": False}}, "series[0].static.region", "name of a category"),
        ({"static": ["south"]}, "series[0].static", "expected an object"),
    ],
)
def test_unknown_names_and_wrong_kinds_are_refused_by_name(client, change, field, words):
    answer = client.post("/forecast", json=body(**change))
    assert answer.status_code == 422, answer.text
    assert answer.mimetype == "application/problem+json"
    error = answer.json["errors"][0]
    assert error["field"] == field
    assert words in error["detail"]


def test_categories_that_were_not_learned_are_unknown_with_a_warning(contract):
    sent = body(future=[ahead(weather="Hail")], static={"region": "west"})
    histories, call = panel_of(sent, contract)
    fields = [warning.field for warning in call.series[0].warnings]
    assert fields == ["series[0].static.region", "series[0].future.weather"]
    assert "'Hail'" in call.series[0].warnings[1].detail
    weather = histories.panel.covariates[2].values
    assert np.isnan(weather[histories.origins[0] + 1])


def test_the_covariates_of_the_last_known_day_are_stored_as_they_were_sent(client):
    history = rows(91, price=None)
    history[-1] |= {"value": None, "weather": "Rain", "price": 7}  # planned
    history[-2] |= {"weather": " Hail ", "promo": True}
    answer = client.post("/forecast", json=body(history=history))
    assert answer.status_code == 200
    recorder = state_of(client.application).recorder
    recorder.close()
    with recorder.store.reading() as connection:
        [row] = connection.execute(sa.select(predictions)).all()
    expected = {"price": None, "promo": 1.0, "weather": "Hail", "visits": 890.0}
    assert row.covariates == expected


def test_a_model_without_covariates_stores_none(make_app):
    client = make_app().test_client()
    history = [{"date": row["date"], "value": row["value"]} for row in rows()]
    assert client.post("/forecast", json={"history": history}).status_code == 200
    recorder = state_of(client.application).recorder
    recorder.close()
    with recorder.store.reading() as connection:
        assert connection.scalars(sa.select(predictions.c.covariates)).all() == [None]


def test_scenarios_take_covariates_by_name(contract):
    scenario = {"cheap": [ahead(price=0.5, weather="Rain")]}
    one, _ = panel_of(body() | {"scenarios": scenario}, contract)
    assert np.isnan(one.panel.covariates[0].values[one.origins[0] + 1])
    from serving.schemas.plans import read_plan

    call = read_forecast(json.dumps(body() | {"scenarios": scenario}).encode(), contract)
    plan = read_plan(call.options, call.series, contract, 2)
    assert plan is not None
    other = join_series(plan.scenarios["cheap"], contract)
    assert other.panel.covariates[0].values[other.origins[0] + 1] == 0.5
    wrong = body() | {"scenarios": {"cheap": [ahead(visits=1.0)]}}
    call = read_forecast(json.dumps(wrong).encode(), contract)
    with pytest.raises(RequestError) as refused:
        read_plan(call.options, call.series, contract, 2)
    assert refused.value.errors[0][0] == "scenarios.cheap[0].visits"


def test_categories_of_a_scenario_that_were_not_learned_are_named(contract):
    from serving.schemas.plans import read_plan

    rows = [ahead(weather="Hail")]
    for scenario, field in ((rows, "scenarios.cold"), ({"a": rows}, "scenarios.cold.a")):
        sent = body() | {"scenarios": {"cold": scenario}}
        call = read_forecast(json.dumps(sent).encode(), contract)
        plan = read_plan(call.options, call.series, contract, 2)
        assert plan is not None
        assert [warning.field for warning in plan.warnings] == [f"{field}.weather"]
        assert "'Hail'" in plan.warnings[0].detail


def test_a_model_without_covariates_refuses_their_names():
    contract = Contract.read(TINY_MODEL)
    with pytest.raises(RequestError) as refused:
        read_histories([{"history": rows()}], contract, contract.max_context, "")
    assert refused.value.errors[0][0] == "history[0].price"


def test_the_card_names_the_covariates(client):
    card = client.get("/model").json
    assert [item["name"] for item in card["covariates"]] == [item["name"] for item in DESCRIBED]


def test_an_explanation_takes_covariates(client):
    sent = {"history": rows(), "static": {"region": "south"}, "future": [ahead(price=1.5)]}
    assert client.post("/request-explanation", json=sent).status_code == 202
    wrong = {"history": rows(prize=1.0)}
    assert client.post("/request-explanation", json=wrong).status_code == 422


def test_the_example_of_the_description_has_two_covariates_and_is_answered(client):
    spec = client.get("/openapi.json").json
    example = spec["paths"]["/forecast"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ]
    assert example["history"][0].keys() == {"date", "value", "price", "promo"}
    assert client.post("/forecast", json=example).status_code == 200


def test_covariates_of_the_last_days_are_kept_at_their_places(contract):
    fields = CovariateFields.of(contract)
    sent = rows(4, price=None, promo=None, visits=None)
    sent[1] |= {"promo": True, "weather": None}
    sent[3] |= {"weather": " Hail "}
    del sent[2]
    days = np.array([row["date"] for row in sent], dtype="datetime64[D]")
    factor = {"fator_externo": np.array([1.5, np.nan, 2.0])}
    assert fields.read_recent(sent, factor, days, 3) == {
        "fator_externo": [None, None, 2.0],
        "promo": [1.0, None, None],
        "weather": [None, None, "Hail"],
    }
    assert fields.read_recent(sent, factor, days, 5)["fator_externo"] == [
        None,
        1.5,
        None,
        None,
        2.0,
    ]


def test_null_is_none_where_the_model_has_learned_blank_cells(tmp_path):
    offer = described("offer", "known", "category", ["", "2x1"])
    contract = Contract.read(model_with_covariates(tmp_path / "model", [offer]))
    history = [{"date": row["date"], "value": row["value"]} for row in rows()]

    def read(*cells):
        sent = [row | cell for row, cell in zip(history, (*cells, *[{}] * 90), strict=False)]
        histories, call = panel_of({"history": sent, "future": [ahead(offer=None)]}, contract)
        values = align_covariates(histories.panel, [offer]).covariates[0].values
        return values[: histories.origins[0] + 2].tolist(), call

    named, none, left_out = {"offer": "2x1"}, {"offer": None}, {}
    values, call = read(named, none, left_out)
    assert values == [1.0, *[0.0] * 89, 0.0]  # the last is the day ahead
    assert not call.series[0].warnings
    assert read({"offer": ""})[0] == [0.0] * 91
    series = read()[1].series[0]
    assert np.isnan(series.columns["offer"][:90]).all()


def test_retraining_learns_from_the_covariates_of_forecasts_and_the_actuals_after_them(
    client, tmp_path
):
    data = pd.DataFrame(rows(88)).drop(columns="visits")
    data = data.assign(price=data["price"] / 8, series_id="a", region="south")
    data.to_csv(tmp_path / "data.csv", index=False)
    last = {"weather": "Hail", "price": 7, "promo": None}
    for count, changes in ((88, {}), (90, last), (90, {"price": 8, "weather": None})):
        history = rows(count)
        history[-1] |= changes
        assert client.post("/forecast", json=body(history=history)).status_code == 200
    sent = [{"series_id": "a", "date": row["date"], "value": row["value"]} for row in rows(90)[88:]]
    assert client.post("/actuals", json={"actuals": sent}).status_code == 200
    recorder = state_of(client.application).recorder
    recorder.close()
    words = "COVARIATES=price,promo,weather STATIC_COVARIATES=region"
    settings = get_settings(None).model_copy(
        update={"retrain_data": str(tmp_path / "data.csv"), "retrain_parameters": words}
    )
    table, added = gather_data(recorder.store, settings)
    assert added == 2
    learned = table.set_index("date")[["value", *(f"known:{name}" for name in KINDS)]]
    day = pd.Timestamp("2026-03-30")
    assert learned.loc[day].tolist() == [104.0, 2.0, 1.0, "Sun"]
    # The last forecast about a day wins, but what it does not know stays.
    assert learned.loc[day + pd.Timedelta(days=1)].tolist() == [105.0, 8.0, 0.0, "Hail"]
    assert (table["static:category:region"] == "south").all()
