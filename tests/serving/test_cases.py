"""Histories that are not what they seem: `/forecast` does what training does with such a file."""

import numpy as np
import pandas as pd
import pytest

from lib.inference import mean_of_quantiles
from lib.settings import ROOT
from serving import schemas
from tests.panels import lively_panel

CASES = ROOT.parent / "shared" / "cases"
AHEAD = 3  # days that the tiny model forecasts
LAST = "2025-06-30"


def case(name):
    """Return the series of a file of ../shared/cases for a body, or skip the test."""
    path = CASES / f"{name}.csv"
    if not path.is_file():
        pytest.skip("the small inputs are not at ../shared/cases")
    return series_of(pd.read_csv(path, dtype={"date": "str"}))


def series_of(table):
    names = table["series_id"] if "series_id" in table else pd.Series("series", table.index)
    return [
        {
            "series_id": name,
            "history": [
                {"date": d[:10], "value": None if np.isnan(v) else float(v)}
                for d, v in zip(of_one["date"], of_one["value"], strict=True)
            ],
        }
        for name, of_one in table.groupby(names, sort=False)
    ]


def made_up(days=120, last=LAST, weekdays=range(7), name="a"):
    """Return one series of lively values, on some weekdays."""
    dates = pd.date_range(end=last, periods=days)
    values = lively_panel(days=days, series=1, missing=0.0, covariates=False).values
    table = pd.DataFrame({"series_id": name, "date": dates.strftime("%Y-%m-%d"), "value": values})
    return series_of(table[dates.day_of_week.isin(list(weekdays))])[0]


def forecast(client, series):
    """Return the answer's forecasts by series, and the warnings by field."""
    answer = client.post("/forecast", json={"series": series})
    assert answer.status_code == 200, answer.text
    schemas.Forecast.model_validate_json(answer.data)
    found = {f["series_id"]: f["forecast"] for f in answer.json["forecasts"]}
    warnings = {}
    for warning in answer.json.get("warnings", []):
        warnings.setdefault(warning["field"], []).append(warning["detail"])
    return found, warnings


def refusal(client, series):
    answer = client.post("/forecast", json={"series": series})
    assert answer.status_code == 422, answer.text
    return answer.json["errors"][0]


def first_day(forecasts, name="a"):
    return forecasts[name][0]["date"]


def with_factor(rows, factor=5.0):
    return [row | {"fator_externo": factor} for row in rows]


# --- Planned rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [{"fator_externo": 9.0}, {"evento_especial": 1.0}])
def test_rows_behind_the_last_value_with_covariates_are_the_future(client, columns):
    past = made_up() | {"history": with_factor(made_up()["history"])}
    planned = [{"date": f"2025-07-0{day}", **columns} for day in (1, 2, 3)]
    within = past | {"history": past["history"] + [row | {"value": None} for row in planned]}
    found, _ = forecast(client, [within])
    assert first_day(found) == "2025-07-01"
    assert found == forecast(client, [past | {"future": planned}])[0]
    assert found != forecast(client, [past])[0]


def test_planned_rows_behind_the_horizon_are_not_used(client):
    past = made_up() | {"history": with_factor(made_up()["history"])}
    rows = [
        {"date": f"2025-07-{day:02}", "value": None, "fator_externo": 9.0} for day in range(1, 31)
    ]
    long = past | {"history": past["history"] + rows}
    short = past | {"history": past["history"] + rows[:AHEAD]}
    assert forecast(client, [long]) == forecast(client, [short])


def test_future_goes_before_planned_rows_where_both_are_known(client):
    past = made_up() | {"history": with_factor(made_up()["history"])}
    planned = [{"date": "2025-07-01", "value": None, "fator_externo": 1.0, "evento_especial": 1.0}]
    future = [{"date": "2025-07-01", "fator_externo": 9.0}]
    both = past | {"history": past["history"] + planned, "future": future}
    joined = past | {"future": [future[0] | {"evento_especial": 1.0}]}
    assert forecast(client, [both]) == forecast(client, [joined])


def test_one_planned_row_ends_the_history_with_the_last_value(client):
    past = made_up()
    rows = [
        {"date": "2025-07-01", "value": None},
        {"date": "2025-07-02", "value": None, "evento_especial": 1.0},
    ]
    found, _ = forecast(client, [past | {"history": past["history"] + rows}])
    assert first_day(found) == "2025-07-01"


def test_blank_rows_at_the_end_are_missing_values(client):
    past = made_up()
    rows = [{"date": f"2025-07-0{day}", "value": None} for day in (1, 2)]
    found, _ = forecast(client, [past | {"history": past["history"] + rows}])
    assert first_day(found) == "2025-07-03"


@pytest.mark.parametrize(("blank", "warns"), [(13, False), (14, True), (28, True)])
def test_many_blank_rows_at_the_end_are_warned_of(client, blank, warns):
    past = made_up(days=120)
    rows = past["history"]
    past["history"] = rows[:-blank] + [row | {"value": None} for row in rows[-blank:]]
    found, warnings = forecast(client, [past])
    assert first_day(found) == "2025-07-01"
    said = [text for text in warnings.get("series[0].history", []) if "have no value" in text]
    assert len(said) == warns
    if warns:
        assert f"the last {blank} days" in said[0]


def test_case_trailing_blank(client):
    series = case("trailing_blank_all")
    found, _ = forecast(client, series)
    assert {first_day(found, name) for name in found} == {"2025-02-24"}
    known = [one | {"history": with_factor(one["history"])} for one in series]
    found, _ = forecast(client, known)
    assert {first_day(found, name) for name in found} == {"2025-02-19"}


# --- Frequency, closed days, names --------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "name"), [("W-MON", "weekly"), ("2W-MON", "fortnightly"), ("MS", "monthly")]
)
def test_data_that_is_not_daily_is_refused(client, days, name):
    dates = pd.date_range("2020-01-01", periods=60, freq=days).strftime("%Y-%m-%d")
    table = pd.DataFrame({"date": dates, "value": np.arange(60.0) % 9})
    error = refusal(client, [made_up(), *series_of(table)])
    assert error["field"] == "series[1].history"
    assert error["detail"].startswith(f"{name} data found: 60 values")


def test_case_weekly(client):
    assert "weekly data found" in refusal(client, case("weekly"))["detail"]


def test_closed_weekdays_are_forecast_as_0_with_a_warning(client):
    friday = "2025-06-27"
    found, warnings = forecast(
        client, [made_up(last=friday, weekdays=range(5)), made_up(last=friday, name="b")]
    )
    medians = [day["prediction"] for day in found["a"]]
    assert medians[:2] == [0, 0]  # Saturday and Sunday
    assert medians[2] > 50
    assert min(day["prediction"] for day in found["b"]) > 50
    assert warnings == {
        "series[0].history": ["closed on Saturdays and Sundays: 0 is forecast there"]
    }


def test_case_business_days(client):
    found, warnings = forecast(client, case("business_days"))
    for day in (day for days in found.values() for day in days):
        is_weekend = pd.Timestamp(day["date"]).day_of_week >= 5
        assert (day["prediction"] == 0) == is_weekend
    assert len(warnings) == len(found)
    assert "closed on Saturdays and Sundays" in warnings["series[0].history"][0]


def test_names_in_two_unicode_forms_are_refused(client):
    error = refusal(client, [made_up(name="São"), made_up(name="Sa\u0303o")])
    assert error["field"] == "series[1].series_id"
    assert forecast(client, [made_up(name="Shop"), made_up(name="SHOP")])[0].keys() == {
        "Shop",
        "SHOP",
    }


def test_case_nfc_nfd(client):
    assert refusal(client, case("nfc_nfd"))["field"] == "series[1].series_id"


def test_case_tz_sao_paulo(client):
    (series,) = case("tz_sao_paulo_iso")
    found, _ = forecast(client, [series])
    assert first_day(found, series["series_id"]) == "2019-01-29"


# --- Series beside each other -------------------------------------------------------------------


def test_case_one_negative_value_changes_no_other_series(client):
    with_it, _ = forecast(client, case("one_negative"))
    without, _ = forecast(client, case("no_negative"))
    for name in without.keys() - {"ret"}:
        assert with_it[name] == without[name]
        assert min(day["quantiles"]["0.1"] for day in without[name]) >= 0


@pytest.mark.parametrize("name", ["normal_plus_constant", "float_dust_constant", "intermittent"])
def test_case_of_odd_values_is_forecast(client, name):
    series = case(name)
    found, _ = forecast(client, series)
    assert found.keys() == {one["series_id"] for one in series}
    for one in series:
        known = [row["value"] for row in one["history"] if row["value"] is not None]
        if max(known) - min(known) < 1e-9:
            medians = [day["prediction"] for day in found[one["series_id"]]]
            np.testing.assert_allclose(medians, known[-1], rtol=1e-3)


def test_series_that_ended_long_before_others_is_told(client):
    series = [made_up(), made_up(last="2024-06-30", name="old")]
    found, warnings = forecast(client, series)
    assert first_day(found, "old") == "2024-07-01"
    assert warnings == {
        "series[1].history": [
            "ends on 2024-06-30, 365 days before the latest of this call: it is forecast from there"
        ]
    }


def test_case_series_that_ended_two_years_ago_is_told(client):
    _, warnings = forecast(client, case("ended_two_years_ago"))
    (texts,) = warnings.values()
    assert texts[0].startswith("ends on")


@pytest.mark.parametrize(
    ("name", "short", "days"), [("short_59_60_61", "s59", 59), ("late_start", "late", 35)]
)
def test_case_short_series_is_forecast_and_told_what_it_rests_on(client, name, short, days):
    series = case(name)
    found, warnings = forecast(client, series)
    assert found.keys() == {one["series_id"] for one in series}
    place = [one["series_id"] for one in series].index(short)
    [text] = warnings[f"series[{place}].history"]
    assert text.startswith(f"{days} days known: the level and part of the week from them")
    assert len(warnings) == 1


@pytest.mark.parametrize("days", [1, 2, 7, 14, 30, 59])
def test_history_of_any_length_is_forecast(client, days):
    series = made_up(days=days)
    found, warnings = forecast(client, [series])
    for day in found["a"]:
        quantiles = list(day["quantiles"].values())
        assert 0 <= quantiles[0] < quantiles[-1]
        assert quantiles == sorted(quantiles)
    [[text]] = warnings.values()
    assert text.startswith(f"{days} day")
    whence = "from what the model has learned elsewhere"  # this artifact has no pool
    assert text.endswith(whence)


def test_leading_blank_days_are_no_history(client):
    series = made_up(days=20)
    blank = [row | {"value": None} for row in made_up(days=90)["history"][:70]]
    padded = series | {"history": blank + series["history"]}
    assert forecast(client, [padded])[0] == forecast(client, [series])[0]
    [[text]] = forecast(client, [padded])[1].values()
    assert text.startswith("20 days known")


def test_history_without_a_known_value_is_refused(client):
    series = made_up(days=20)
    empty = series | {"history": [row | {"value": None} for row in series["history"]]}
    assert "expected a known value" in refusal(client, [empty])["detail"]


# --- The mean beside the median -------------------------------------------------------------------


def test_mean_of_intermittent_sales_is_that_of_the_quantiles_and_not_below_zero(client):
    rng = np.random.default_rng(0)
    dates = pd.date_range(end=LAST, periods=200).strftime("%Y-%m-%d")
    sales = np.where(rng.random(200) < 0.25, 1.0 + rng.poisson(3, 200), 0.0)
    (series,) = series_of(pd.DataFrame({"date": dates, "value": sales}))
    found, _ = forecast(client, [series])
    for day in found["series"]:
        quantiles = np.array(list(day["quantiles"].values()))
        expected = mean_of_quantiles(quantiles, (0.1, 0.5, 0.9), floor=0.0)
        assert day["mean"] == pytest.approx(expected)
        assert day["mean"] >= 0


def test_mean_of_a_closed_day_is_0(client):
    found, _ = forecast(client, [made_up(last="2025-06-27", weekdays=range(5))])
    assert [day["mean"] for day in found["a"]][:2] == [0, 0]
    assert found["a"][2]["mean"] == pytest.approx(found["a"][2]["prediction"], rel=0.2)
