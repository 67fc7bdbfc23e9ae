"""Totals, groups, orders and scenarios of `/forecast`."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from lib.inference.totals import sum_ranges
from serving.model.series_forecasts import forecast_series
from serving.schemas import forecasts as schemas
from serving.schemas.examples import example_history
from tests.ranked import ranked_model
from tests.serving.live import Shelf, app_on, close
from tests.serving.test_forecasts import refused


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    """A client of an application whose model has ranks."""
    folder = tmp_path_factory.mktemp("planning")
    shelf = Shelf(production=7)
    shelf.folders[7] = ranked_model(folder / "model")
    app = app_on(shelf, folder)
    yield app.test_client()
    close(app)


def series(name, days=90, **fields):
    return {"series_id": name, "history": example_history(days), **fields}


def ahead(step, days=90):
    """An ISO day of the horizon."""
    return str(date.fromisoformat(example_history(days)[-1]["date"]) + timedelta(days=step))


def answer(client, **body):
    response = client.post("/forecast", json=body)
    assert response.status_code == 200, response.text
    schemas.Forecast.model_validate(response.json)
    return response.json


def means(forecast):
    return np.array([day["mean"] for day in forecast["forecast"]])


def test_answer_without_the_fields_is_as_before(planner):
    found = answer(planner, history=example_history())
    assert set(found) == {"forecasts", "levels", "trace_id", "model_version"}
    assert set(found["forecasts"][0]) == {"series_id", "forecast"}


def test_totals_are_those_of_each_series(planner):
    found = answer(planner, series=[series("a"), series("b")], totals=[2, "2-3"])
    for forecast in found["forecasts"]:
        first, second = forecast["totals"]
        assert (first["days"], first["first"], first["last"]) == (2, ahead(1), ahead(2))
        assert (second["days"], second["first"], second["last"]) == (2, ahead(2), ahead(3))
        assert first["mean"] == pytest.approx(means(forecast)[:2].sum(), abs=1e-9)
        assert list(first["quantiles"]) == ["0.1", "0.5", "0.9"]
        assert sorted(first["quantiles"].values()) == list(first["quantiles"].values())


def test_week_is_narrower_than_the_sum_of_its_quantiles(planner):
    [forecast] = answer(planner, history=example_history(), totals=[3])["forecasts"]
    days = np.array([list(day["quantiles"].values()) for day in forecast["forecast"]])
    total = list(forecast["totals"][0]["quantiles"].values())
    assert total[2] - total[0] < days.sum(axis=0)[2] - days.sum(axis=0)[0]


def test_groups_are_coherent_with_their_series(planner):
    body = {"series": [series("a"), series("b"), series("c")], "totals": [3]}
    groups = {"north": ["a", "c"], "all": True}
    found = answer(planner, **body, groups=groups)
    each = {f["series_id"]: f["totals"][0]["mean"] for f in found["forecasts"]}
    north, everything = found["groups"]["north"], found["groups"]["all"]
    assert (north["series"], everything["series"]) == (2, 3)
    assert north["totals"][0]["mean"] == pytest.approx(each["a"] + each["c"], abs=1e-9)
    assert everything["totals"][0]["mean"] == pytest.approx(sum(each.values()), abs=1e-9)
    assert found["groups"] == answer(planner, **body, groups=groups)["groups"]


def test_groups_of_the_same_series_share_the_sums_of_their_days(planner, monkeypatch):
    added = []

    def counted(*args, **kwargs):
        added.append(args)
        return sum_ranges(*args, **kwargs)

    monkeypatch.setattr("serving.model.plans.sum_ranges", counted)
    names = [f"g{number}" for number in range(50)]
    found = answer(
        planner, series=[series("a"), series("b")], totals=[1, 3], groups=dict.fromkeys(names, True)
    )
    assert len(added) == 2  # one a series
    means = [[total["mean"] for total in group["totals"]] for group in found["groups"].values()]
    assert means == [means[0]] * 50


def test_doubts_about_the_covariates_of_a_scenario_are_told(planner, monkeypatch):
    def doubtful(forecaster, sent, context):
        for part in forecast_series(forecaster, sent, context):
            planned = [np.nansum(one.columns["evento_especial"][-3:]) for one in sent]
            yield replace(part, doubts=("out of range",) if max(planned) > 0 else ())

    monkeypatch.setattr("serving.routes.planning.forecast_series", doubtful)
    rows = [{"date": ahead(1), "evento_especial": 1.0}]
    plain = [{"date": ahead(1), "evento_especial": 0.0}]
    found = answer(planner, **PLAIN, scenarios={"fair": rows, "none": plain})
    assert found["warnings"] == [{"field": "scenarios.fair", "detail": "out of range"}]


def test_memory_is_given_back_after_a_large_answer_to_a_small_body(planner, monkeypatch):
    given_back = []
    monkeypatch.setattr("serving.routes.forecasts.release_memory", lambda: given_back.append(1))
    monkeypatch.setattr("serving.routes.forecasts.LARGE", 20_000)
    rows = [{"date": ahead(1, days=60), "evento_especial": 1.0}]
    scenarios = {f"{i}": rows for i in range(5)}
    one = series("a", days=60)
    answer(planner, series=[one])
    assert given_back == []
    body = {"series": [one], "totals": [1, 2, 3, "2-3"], "scenarios": scenarios}
    answer(planner, **body, groups=dict.fromkeys("abcdef", True))
    assert given_back == [1]


def test_groups_alone_give_totals_of_the_week_and_the_horizon(planner):
    found = answer(planner, series=[series("a"), series("b")], groups={"all": True})
    assert [total["days"] for total in found["groups"]["all"]["totals"]] == [3]


def test_order_brings_the_stock_to_the_service_level(planner):
    order = {"lead_time": 3, "service_level": 0.9, "stock": {"a": 20}}
    found = answer(planner, series=[series("a"), series("b")], totals=[3], order=order)
    first, second = (forecast["order"] for forecast in found["forecasts"])
    assert (first["stock"], second["stock"]) == (20, 0)
    target = found["forecasts"][0]["totals"][0]["quantiles"]["0.9"]
    assert first["quantity"] == pytest.approx(target - 20)
    assert (first["first"], first["last"]) == (ahead(1), ahead(3))
    balance = first["stock"] + first["quantity"] - first["expected_demand"]
    assert balance == pytest.approx(first["expected_leftover"] - first["expected_shortage"])


def test_order_by_costs_has_their_critical_ratio(planner):
    order = {"lead_time": 1, "cost_over": 1, "cost_under": 4.0}
    [forecast] = answer(planner, history=example_history(), order=order)["forecasts"]
    assert forecast["order"]["service_level"] == 0.8
    assert "totals" not in forecast


def test_scenario_has_its_forecast_and_its_difference(planner):
    rows = [{"date": ahead(2), "evento_especial": 1.0}]
    found = answer(
        planner,
        series=[series("a"), series("b")],
        totals=[1, 3],
        groups={"all": True},
        scenarios={"promotion": rows, "only a": {"a": rows}},
    )
    first, second = found["forecasts"]
    promotion = first["scenarios"]["promotion"]
    assert len(promotion["forecast"]) == 3
    for i in range(2):
        expected = promotion["totals"][i]["mean"] - first["totals"][i]["mean"]
        assert promotion["difference"][i]["mean"] == pytest.approx(expected, abs=1e-9)
    unchanged = second["scenarios"]["only a"]
    assert np.allclose(means(unchanged), means(second), rtol=1e-12)
    assert max(map(abs, unchanged["difference"][1]["quantiles"].values())) < 1e-9
    assert first["scenarios"]["only a"] == promotion
    whole = found["groups"]["all"]["scenarios"]["promotion"]["difference"][1]["mean"]
    parts = [f["scenarios"]["promotion"]["difference"][1]["mean"] for f in found["forecasts"]]
    assert whole == pytest.approx(sum(parts), abs=1e-9)


def test_scenario_changes_what_its_rows_say_and_keeps_the_rest(planner):
    future = [{"date": ahead(1), "fator_externo": 9.0}]
    same = answer(
        planner,
        history=example_history(),
        future=future,
        scenarios={"same": [{"date": ahead(1), "evento_especial": None}]},
    )
    [forecast] = same["forecasts"]
    assert forecast["scenarios"]["same"]["forecast"] == forecast["forecast"]


def test_difference_is_divided_among_the_covariates_that_make_it_up(planner):
    both = {"evento_especial": 1.0, "fator_externo": 9.0}
    rows = {name: [{"date": ahead(2), name: value}] for name, value in both.items()}
    found = answer(
        planner,
        series=[series("a"), series("b")],
        totals=[1, 3],
        groups={"all": True},
        scenarios={"both": [{"date": ahead(2)} | both]} | rows,
    )
    for i in range(2):
        for forecast in found["forecasts"]:
            difference = forecast["scenarios"]["both"]["difference"][i]
            parts = difference["by_covariate"]
            assert list(parts) == ["fator_externo", "evento_especial"]
            assert sum(parts.values()) == pytest.approx(difference["mean"], abs=1e-9)
            for name in both:  # alone, each has the sign of what it does
                alone = forecast["scenarios"][name]["difference"][i]
                assert alone["by_covariate"] == {name: pytest.approx(alone["mean"], abs=1e-9)}
                assert parts[name] * alone["mean"] >= 0
        group = found["groups"]["all"]["scenarios"]["both"]["difference"][i]["by_covariate"]
        for name, part in group.items():
            each = [
                f["scenarios"]["both"]["difference"][i]["by_covariate"][name]
                for f in found["forecasts"]
            ]
            assert part == pytest.approx(sum(each), abs=1e-9)


def test_parts_are_left_out_where_they_take_too_many_forecasts(planner, monkeypatch):
    monkeypatch.setattr("serving.schemas.plans.SERIES", 3)
    rows = [{"date": ahead(1), "evento_especial": 1.0, "fator_externo": 9.0}]
    [forecast] = answer(planner, **PLAIN, scenarios={"both": rows})["forecasts"]
    assert "by_covariate" not in forecast["scenarios"]["both"]["difference"][0]


PLAIN = {"history": example_history()}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"totals": [4]}, "totals[0]"),
        ({"totals": [1, "3-2"]}, "totals[1]"),
        ({"totals": ["next week"]}, "totals[0]"),
        ({"totals": []}, "totals"),
        ({"totals": [1.5]}, "totals[0]"),
        ({"totals": [True]}, "totals[0]"),
        ({"groups": {"north": ["nobody"]}}, "groups.north[0]"),
        ({"groups": {"north": []}}, "groups.north"),
        ({"groups": {"north": False}}, "groups.north"),
        ({"order": {"lead_time": 4, "service_level": 0.9}}, "order.lead_time"),
        ({"order": {"lead_time": 1}}, "order"),
        ({"order": {"lead_time": 1, "service_level": 1.0}}, "order.service_level"),
        ({"order": {"lead_time": 1, "service_level": 0.9, "stock": {"b": 1}}}, "order.stock.b"),
        ({"order": {"lead_time": 1, "service_level": 0.9, "stock": -1e300}}, "order.stock"),
        ({"order": {"lead_time": 1, "cost_over": 1e308, "cost_under": 1e308}}, "order.cost_over"),
        ({"order": {"lead_time": 1, "cost_over": 1e-9, "cost_under": 1e9}}, "order"),
        ({"scenarios": {"late": [{"date": ahead(4)}]}}, "scenarios.late[0].date"),
        ({"scenarios": {"odd": [{"date": ahead(1), "promo": 1}]}}, "scenarios.odd[0].promo"),
        (
            {"scenarios": {"all": [{"date": ahead(1), "evento_especial": 2}]}},
            "scenarios.all[0].evento_especial",
        ),
        ({"scenarios": {"one": {"b": [{"date": ahead(1)}]}}}, "scenarios.one.b"),
        ({"scenarios": {"two": [{"date": ahead(1)}] * 2}}, "scenarios.two[1].date"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_its_field(planner, fields, field):
    response = planner.post("/forecast", json=PLAIN | fields)
    assert refused(response)[0] == field, response.json


def test_group_whose_series_end_on_different_days_is_refused_where_it_does_not_fit(planner):
    body = {"series": [series("a"), series("b", days=91)], "groups": {"all": True}}
    assert answer(planner, **body, totals=[2])["groups"]["all"]["totals"][0]["first"] == ahead(2)
    response = planner.post("/forecast", json=body | {"totals": [3]})
    assert refused(response) == ["groups.all"]


def test_more_forecasts_than_one_call_may_have_are_refused(planner, monkeypatch):
    monkeypatch.setattr("serving.schemas.plans.SERIES", 3)
    rows = [{"date": ahead(1), "evento_especial": 1.0}]
    body = {"series": [series("a"), series("b")], "scenarios": {"promotion": rows}}
    assert refused(planner.post("/forecast", json=body)) == ["scenarios"]


def test_model_without_ranks_says_why_it_has_no_totals(client):
    response = client.post("/forecast", json=PLAIN | {"totals": [3]})
    assert refused(response) == ["totals"]
    assert "train it again" in response.json["detail"]
