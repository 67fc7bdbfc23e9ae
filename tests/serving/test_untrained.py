"""`/forecast` before anything was trained: calibrated on what the call sends."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from lib import Forecaster
from lib.inference import PRETRAINED_ARTIFACT, PRETRAINED_VERSION, Contract
from serving.app import create_app
from serving.explanations.explainer import Explainer
from serving.http.gunicorn_worker import FairWorker
from serving.model import cost_of_calibration
from serving.model.live_model import LiveModel
from serving.schemas import read_forecast
from serving.state import state_of
from tests.serving.live import Shelf, close, settings_of

DAYS, AHEAD = 420, 28
STATIC = {"north": "city", "south": "coast"}


@pytest.fixture
def client(tmp_path):
    settings = settings_of(tmp_path)
    model = LiveModel(settings, registry=lambda: Shelf())
    model._attempt()
    model.start = lambda: None
    app = create_app(settings, model=model)
    yield app.test_client()
    close(app)


def sales(seed=0, days=DAYS + AHEAD):
    """Two shops: price and promotions act, the weather is a category, visits lead by a day."""
    rng = np.random.default_rng(seed)
    tables = []
    for name, level in (("north", 80.0), ("south", 300.0)):
        price = 10 + rng.normal(size=days)
        promo = rng.random(days) < 0.1
        weather = rng.choice(["rain", "sun"], days)
        week = 1 + 0.2 * np.sin(2 * np.pi * np.arange(days) / 7)
        effects = -0.05 * (price - 10) + 0.6 * promo - 0.2 * (weather == "rain")
        units = level * week * np.exp(effects)
        units *= np.exp(0.05 * rng.normal(size=days))
        visits = np.append(units[1:], units[:1]) * np.exp(0.05 * rng.normal(size=days))
        tables.append(
            pd.DataFrame(
                {
                    "series_id": name,
                    "date": pd.date_range("2024-01-01", periods=days),
                    "value": units.round(2),
                    "price": price.round(3),
                    "promo": promo,
                    "weather": weather,
                    "visits": visits.round(1),
                    "place": STATIC[name],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


DAILY = ["price", "promo", "weather"]


def body_of(table, *, known=DAYS, planned=DAILY, static=True):
    series = []
    for name, one in table.groupby("series_id", sort=False):
        one = one.assign(date=one["date"].dt.strftime("%Y-%m-%d"))
        past, ahead = one.iloc[:known], one.iloc[known:]
        sent = {"series_id": name, "history": past[["date", "value", *DAILY, "visits"]]}
        sent["history"] = sent["history"].to_dict("records")
        sent["future"] = ahead[["date", *planned]].to_dict("records") if planned else []
        series.append(sent | ({"static": {"place": STATIC[name]}} if static else {}))
    return {"series": series}


def quantiles_of(answer):
    return np.array(
        [
            [list(day["quantiles"].values()) for day in one["forecast"]]
            for one in answer.json["forecasts"]
        ]
    )


def test_forecast_is_that_of_a_forecaster_without_training(client):
    table = sales()
    answer = client.post("/forecast", json=body_of(table))
    assert answer.status_code == 200, answer.text
    day = table.groupby("series_id").cumcount()
    model = Forecaster(horizon=AHEAD).fit(
        table[day < DAYS],
        series="series_id",
        covariates=DAILY,
        past_covariates=["visits"],
        static_covariates=["place"],
        effort="instant",
    )
    expected = model.predict(table.loc[day >= DAYS, ["series_id", "date", *DAILY]])
    levels = [name for name in expected.columns if name.startswith("q")]
    expected = expected[levels].to_numpy().reshape(2, AHEAD, len(levels))
    np.testing.assert_allclose(quantiles_of(answer), expected, rtol=1e-5)


def test_promotions_ahead_are_forecast_and_the_answer_says_what_was_learned(client):
    table = sales()
    answer = client.post("/forecast", json=body_of(table))
    median = quantiles_of(answer)[..., 3]
    ahead = table.groupby("series_id", sort=False).tail(AHEAD)
    truth = ahead["value"].to_numpy().reshape(2, AHEAD)
    error = np.abs(median / truth - 1).mean()
    assert error < 0.1
    told = answer.json["warnings"][-1]["detail"]
    assert "no model has been trained yet" in told
    for words in (
        "price (number, known ahead)",
        "promo (event, known ahead)",
        "weather (category, known ahead)",
        "visits (number, known up to today)",
        "place (category, of the series)",
    ):
        assert words in told
    alone = client.post("/forecast", json=body_of(table, planned=[]))
    assert "price (number, known up to today)" in alone.json["warnings"][-1]["detail"]
    assert np.abs(quantiles_of(alone)[..., 3] / truth - 1).mean() > 1.5 * error


def test_intervals_are_calibrated_on_the_series_that_were_sent(client):
    """Of a series whose noise is of another kind than the network has learned."""
    rng = np.random.default_rng(1)
    days = pd.date_range("2023-01-01", periods=700).strftime("%Y-%m-%d").tolist()
    values = 100 + 20 * np.repeat(rng.choice([-1.0, 1.0], 100), 7) + rng.normal(size=700)

    def width(values):
        history = [{"date": d, "value": float(v)} for d, v in zip(days, values, strict=False)]
        found = quantiles_of(client.post("/forecast", json={"history": history}))[0]
        return found[:, -1] - found[:, 0]

    assert width(values).mean() > 30
    assert width(100 + rng.normal(size=700)).mean() < 10


def test_totals_scenarios_and_groups_are_answered(client):
    body = body_of(sales())
    first = body["series"][0]["future"][0]["date"]
    body |= {"totals": [7, 28], "groups": {"all": True}}
    plans = {"dear": {"price": 12.0}, "promo": {"promo": True}}
    body["scenarios"] = {name: [{"date": first, **plan}] for name, plan in plans.items()}
    answer = client.post("/forecast", json=body)
    assert answer.status_code == 200, answer.text
    one = answer.json["forecasts"][0]
    assert [total["days"] for total in one["totals"]] == [7, 28]
    assert one["scenarios"]["dear"]["difference"][0]["mean"] < 0
    assert answer.json["groups"]["all"]["series"] == 2


def test_covariate_that_only_a_scenario_plans_is_known_ahead(client):
    body = body_of(sales(), planned=["price"])
    first = body["series"][0]["future"][0]["date"]
    body |= {"totals": [7], "scenarios": {"promo": [{"date": first, "promo": True}]}}
    answer = client.post("/forecast", json=body)
    assert answer.status_code == 200, answer.text
    assert "promo (event, known ahead)" in answer.json["warnings"][-1]["detail"]


def test_totals_of_a_history_that_is_too_short_are_refused(client):
    history = body_of(sales(), static=False)["series"][0]["history"][:20]
    answer = client.post("/forecast", json={"history": history, "totals": [7]})
    assert answer.status_code == 422
    assert "the history is too short" in answer.json["detail"]


def day_with(**cells):
    return lambda body: body["series"][0]["history"][3].update(cells)


MANY = {f"column {i}": 1 for i in range(60)}


@pytest.mark.parametrize(
    ("change", "field", "detail"),
    [
        (day_with(price=[1]), "series[0].history[3].price", "expected"),
        (day_with(promo=7), "series[0].history[3].promo", "0 to 1"),
        (day_with(**{"": 1}), "series[0].history.", "1 to 200 characters"),
        (day_with(**{"a\x07": 1}), "series[0].history.a", "can be printed"),
        (
            day_with(price="dear"),
            "series[0].history[3].price",
            "expected a number or null, got str",
        ),
        (day_with(price=10**400), "series[0].history[3].price", "finite"),
        (day_with(**MANY), "", "at most 50 covariates, got more"),
        (lambda b: b["series"][1]["static"].update(price=1), "series[1].static.price", "of both"),
        (lambda b: b["series"][1]["static"].update(value=1), "series[1].static.value", "not one"),
        (lambda b: b["series"][0]["history"][3].pop("value"), "series[0].history[3].value", "miss"),
        (lambda b: b["series"][0]["history"].append("x"), "series[0].history[420]", "object"),
        (lambda b: b["series"].append(3), "series[2]", "object"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(client, change, field, detail):
    body = body_of(sales())
    change(body)
    answer = client.post("/forecast", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json["errors"]
    assert error["field"].startswith(field)
    assert detail in error["detail"]


def history_of(**columns):
    """A history of one series with columns of further cells."""
    count = len(columns["value"])
    days = pd.date_range("2024-01-01", periods=count).strftime("%Y-%m-%d")
    names = list(columns)
    return [
        {"date": day, **dict(zip(names, cells, strict=True))}
        for day, *cells in zip(days, *columns.values(), strict=True)
    ]


def told_by(answer):
    assert answer.status_code == 200, answer.text
    return answer.json["warnings"][-1]["detail"]


@pytest.mark.parametrize("marked", ["big", 1])
def test_a_blank_means_none_where_most_days_are_blank(client, marked):
    """As in a file: else nothing would tell days with a promotion from those without."""
    rng = np.random.default_rng(0)
    on = np.arange(128) % 9 == 4
    values = 100 * np.exp(0.5 * on + 0.03 * rng.normal(size=128))
    cells = [marked if each else None for each in on]
    history = history_of(value=values[:100].tolist(), promo=cells[:100])
    ahead = history_of(value=[0.0] * 128, promo=cells)[100:]
    future = [{name: row[name] for name in ("date", "promo")} for row in ahead]
    answer = client.post("/forecast", json={"history": history, "future": future})
    assert "promo (" in told_by(answer)
    median = quantiles_of(answer)[0, :, 3]
    np.testing.assert_allclose(median, 100 * np.exp(0.5 * on[100:]), rtol=0.1)


def test_the_order_of_the_series_changes_nothing(client):
    body = body_of(sales())
    there = client.post("/forecast", json=body)
    back = client.post("/forecast", json={"series": body["series"][::-1]})
    np.testing.assert_array_equal(quantiles_of(there), quantiles_of(back)[::-1])


def test_a_value_that_comes_late_makes_no_plan(client):
    rng = np.random.default_rng(0)
    visits = rng.poisson(30, 300).tolist()
    values = (50 + rng.normal(size=300)).tolist()
    for blank, role in ((1, "known up to today"), (7, "known ahead")):
        late = [*values[:-blank], *[None] * blank]
        answer = client.post("/forecast", json={"history": history_of(value=late, visits=visits)})
        assert f"visits (number, {role})" in told_by(answer)


def test_days_that_are_not_looked_at_tell_no_kind(client):
    rng = np.random.default_rng(0)
    codes = [2.5, *rng.integers(0, 3, 1_799).tolist()]
    history = history_of(value=(50 + rng.normal(size=1_800)).tolist(), code=codes)
    for days, kind in ((1_800, "category"), (400, "category")):
        answer = client.post("/forecast", json={"history": history[-days:]})
        assert f"code ({kind}" in told_by(answer)
    answer = client.post("/forecast", json={"history": history[:400]})
    assert "code (number" in told_by(answer)


@pytest.mark.parametrize("head", [b"POST /forecast ", b"POST //forecast ", b"POST /%66orecast "])
def test_what_is_posted_has_its_turn_however_its_path_is_written(head):
    worker: Any = FairWorker.__new__(FairWorker)
    sock: Any = SimpleNamespace(size=100, head=head)
    for untrained in (True, False):
        worker.is_untrained = lambda untrained=untrained: untrained
        assert worker._is_dear(sock) == untrained
    assert worker._is_dear(SimpleNamespace(size=1_000_000, head=head))
    worker.is_untrained = lambda: True
    assert not worker._is_dear(SimpleNamespace(size=0, head=b"GET /health "))


@pytest.mark.parametrize("days", [1, 14, 45, 90])
def test_short_series_are_forecast_beside_a_long_one_and_alone(client, days):
    body = body_of(sales())
    body["series"][0]["history"] = body["series"][0]["history"][-days:]
    for sent in (body, {"series": body["series"][:1]}):
        answer = client.post("/forecast", json=sent)
        assert answer.status_code == 200, answer.text
        found = quantiles_of(answer)
        assert np.isfinite(found).all()
        assert (np.diff(found, axis=-1) >= 0).all()
    if days < 60:
        borrowed = client.post("/forecast", json=body).json["warnings"][0]["detail"]
        assert "from the series that were learned" in borrowed


def test_explanation_names_the_covariates_and_adds_up(client, tmp_path):
    body = body_of(sales())["series"][1] | {"horizon_day": 3}
    queued = client.post("/request-explanation", json=body)
    assert queued.status_code == 202, queued.text
    job = state_of(client.application).jobs.claim("worker-1")
    assert job
    result, picture = Explainer(settings_of(tmp_path))(job.body, PRETRAINED_VERSION)
    assert picture.startswith(b"\x89PNG")
    assert {"price", "promo", "weather"} <= result["covariates"].keys()
    answer = client.post("/forecast", json={k: v for k, v in body.items() if k != "horizon_day"})
    day = answer.json["forecasts"][0]["forecast"][2]
    assert result["output_value"] == pytest.approx(day["prediction"], rel=1e-6)
    assert result["additivity_error"] <= 1e-4


def test_work_is_charged_by_windows_and_covariates():
    contract = Contract.read(PRETRAINED_ARTIFACT)

    def cost(**changes):
        call = read_forecast(orjson.dumps(body_of(sales(**changes), static=False)), contract)
        return cost_of_calibration(call.contract, call.series)

    assert cost() == 100 * 512 * 3
    assert cost(days=60) == 100 * 120 * 3


def test_card_says_that_any_covariate_is_taken(client):
    card = client.get("/model").json
    assert card["any_covariates"]
    assert card["totals"]
