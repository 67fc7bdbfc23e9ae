"""Totals, paths, orders and scenarios of `Forecaster`, and the file of totals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.data.covariates import Covariate
from lib.data.panel import SeriesError
from lib.forecasting.files import forecast_file
from lib.forecasting.totals import forecast_jointly, sum_forecast
from lib.pipeline.parameters import ParameterError
from tests.lib.forecasting.conftest import COLUMNS, shop_table

LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]
QUANTILES = [f"q{level:g}" for level in LEVELS]


def test_means_of_totals_are_the_sums_of_the_means(fitted):
    forecast, totals = fitted.predict(), fitted.totals(days=[7, "8-28", 28])
    daily = forecast.groupby("series_id")["mean"].apply(lambda mean: mean.to_numpy())
    expected = [daily[s][part].sum() for s in daily.index for part in np.s_[:7, 7:, :]]
    np.testing.assert_allclose(totals["mean"], expected, rtol=1e-12, atol=1e-9)
    whole = fitted.totals(days=[28], by="all")
    assert whole["mean"].item() == pytest.approx(forecast["mean"].sum(), abs=1e-9)
    assert whole["series"].item() == 2


def test_totals_have_the_columns_of_the_contract(fitted):
    totals = fitted.totals()
    expected = ["group", "first", "last", "days", "series", "mean", *QUANTILES]
    assert totals.columns.tolist() == expected
    assert totals["days"].tolist() == [7, 28, 7, 28]
    assert totals.loc[0, "first"] == fitted.predict()["date"].iloc[0]
    assert (totals[QUANTILES].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_groups_are_the_sums_of_their_series(fitted):
    groups = fitted.totals(days=[7], by={"north": "A", "south": "B"}).set_index("group")
    each = fitted.totals(days=[7]).set_index("group")
    pd.testing.assert_frame_equal(groups, each.set_axis(["A", "B"]).rename_axis("group"))
    both = fitted.totals(days=[7], by=pd.Series({"north": "A", "south": "A"}))
    assert both["mean"].item() == pytest.approx(each["mean"].sum(), abs=1e-9)


def test_series_without_a_group_is_named(fitted):
    with pytest.raises(SeriesError, match="no group for 'south'"):
        fitted.totals(by={"north": "A"})
    with pytest.raises(ValueError, match="got 'region', expected None, 'all'"):
        fitted.totals(by="region")


def test_static_covariates_are_groups(fitted):
    ahead = fitted._look_ahead(None, include_ended=False)
    panel = ahead.panel
    values = panel.series_of(np.arange(len(panel.dates))).astype(float)
    region = Covariate("region", "static", "category", values, ("A", "B"))
    joint = forecast_jointly(
        fitted._require_model(),
        replace(ahead, panel=replace(panel, covariates=(region,))),
        28,
        paths=1000,
        seed=0,
    )
    groups = sum_forecast(joint, [7], "region")
    each = fitted.totals(days=[7])
    assert groups["group"].tolist() == ["A", "B"]
    np.testing.assert_allclose(groups[QUANTILES], each[QUANTILES])


def test_totals_are_sums_of_the_paths(fitted):
    paths = fitted.paths(n=1000, seed=3)
    assert paths.shape == (56, 1002)
    week = paths.groupby("series_id", sort=False).head(7).groupby("series_id", sort=False)
    sums = week[list(range(1000))].sum()
    totals = fitted.totals(days=[7], seed=3)
    np.testing.assert_allclose(totals[QUANTILES], np.quantile(sums, LEVELS, axis=1).T)


def test_days_of_paths_have_the_quantiles_of_the_forecast(fitted):
    paths = fitted.paths(n=2000).iloc[:, 2:].to_numpy()
    forecast = fitted.predict()[QUANTILES].to_numpy()
    shares = (paths[:, None] <= forecast[..., None]).mean(axis=(0, 2))
    assert np.abs(shares - LEVELS).max() < 0.02


def test_same_seed_gives_the_same_bits(fitted):
    assert fitted.totals(seed=1).equals(fitted.totals(seed=1))
    assert not fitted.totals(seed=1).equals(fitted.totals(seed=2))


def test_order_covers_the_demand_of_the_lead_time(fitted):
    orders = fitted.order(lead_time=7, service_level=0.95, stock={"north": 50.0})
    totals = fitted.totals(days=[7])
    np.testing.assert_allclose(orders["quantity"] + orders["stock"], totals["q0.95"])
    assert orders["stock"].tolist() == [50, 0]
    assert orders["covers"].between(0.94, 0.96).all()


def test_expected_demand_of_an_order_is_the_mean_of_the_total(fitted):
    orders = fitted.order(lead_time=7, service_level=0.95)
    totals = fitted.totals(days=[7])
    np.testing.assert_allclose(orders["expected_demand"], totals["mean"], rtol=1e-12)
    left = orders["stock"] + orders["quantity"] - orders["expected_demand"]
    np.testing.assert_allclose(orders["expected_leftover"] - orders["expected_shortage"], left)


def test_stock_of_a_series_that_is_not_forecast_is_refused(fitted):
    with pytest.raises(SeriesError, match=r"no series 'Shop 1' is forecast.*'north', 'south'"):
        fitted.order(lead_time=7, service_level=0.95, stock={"Shop 1": 20})


def test_stock_that_is_not_given_is_noted(fitted):
    fitted.order(lead_time=7, service_level=0.95, stock={"north": 20})
    assert "no stock is given for 'south': 0 is assumed" in fitted.notes


def test_base_of_scenarios_has_the_plan_of_the_forecast(fitted):
    days = fitted.predict()["date"].unique()[:7]
    plan = pd.DataFrame({"day": days, "promo": 1.0, "temperature": 30.0})
    warmer = pd.DataFrame({"day": days, "temperature": 35.0})
    table = fitted.scenarios({"warmer": warmer}, days=[7], future=plan)
    base = table[table["scenario"] == "base"].set_index("group")["mean"]
    planned = fitted.totals(days=[7], future=plan).set_index("group")["mean"]
    pd.testing.assert_series_equal(base, planned)
    # What a scenario leaves out stays as in the base.
    both = fitted.totals(days=[7], future=plan.assign(temperature=35.0)).set_index("group")["mean"]
    after = table[(table["scenario"] == "warmer") & (table["measure"] == "total")]
    pd.testing.assert_series_equal(after.set_index("group")["mean"], both)


def test_scenario_changes_only_what_it_plans(fitted):
    day = fitted.predict()["date"].iloc[2]
    promotion = pd.DataFrame({"day": [day], "shop": ["north"], "promo": [1.0]})
    table = fitted.scenarios({"promotion": promotion}, days=[2, 28])
    assert table["scenario"].unique().tolist() == ["base", "promotion"]
    difference = table[table["measure"] == "difference"].set_index(["group", "days"])
    assert difference.loc["south", QUANTILES].abs().max(axis=None) < 1e-9
    changed = difference.loc[("north", 28)]
    assert changed["mean"] != 0
    total = table[(table["measure"] == "total") & (table["group"] == "north")]
    before, after = total.loc[total["days"] == 28, "mean"]
    assert changed["mean"] == pytest.approx(after - before, abs=1e-9)


@pytest.fixture(scope="module")
def promoted():
    """A forecaster of a shop whose sales follow promotion and price."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=300)
    promo, price = (rng.random(300) < 0.15).astype(float), rng.uniform(1, 2, 300).round(2)
    units = 100 * np.exp(0.5 * promo - 0.4 * price + rng.normal(0, 0.03, 300))
    table = pd.DataFrame({"day": days, "units": units, "promo": promo, "price": price})
    return Forecaster(horizon=14).fit(
        table, "day", "units", covariates=["promo", "price"], effort="instant"
    )


def test_a_plan_of_two_days_is_worth_nothing_on_other_days(promoted):
    days = promoted.predict()["date"].iloc[4:6]
    plan = pd.DataFrame({"day": days, "promo": 1.0, "price": 1.5})
    table = promoted.scenarios({"promotion": plan}, days=["1-4", "5-6", "7-14", 14])
    before, on_days, after, whole = table[table["measure"] == "difference"]["mean"]
    assert before == after == 0
    assert on_days == pytest.approx(whole)
    assert on_days > 50


def test_an_explanation_has_what_is_known_of_its_day(promoted):
    days = promoted.predict()["date"]
    plan = pd.DataFrame({"day": days.iloc[4:6], "promo": 1.0, "price": 1.5})
    forecast = promoted.predict(plan).set_index("date")["q0.5"]
    for day, players in ((days[4], {"promo", "price"}), (days[6], set())):
        why = promoted.explain(date=str(day.date()), future=plan)
        assert why.attrs["forecast"] == pytest.approx(forecast[day], rel=1e-5)
        assert set(why["feature"]) & {"promo", "price"} == players


def test_what_is_to_know_of_a_scenario_is_noted_with_its_name(promoted):
    base = pd.DataFrame({"day": promoted.predict()["date"], "promo": 0.0, "price": 1.5})
    scenarios = {"dear": base.assign(price=4.0), "cheap": base.assign(price=1.2)}
    promoted.scenarios(scenarios, [7], future=base)
    [note] = [note for note in promoted.notes if note.startswith("scenario ")]
    assert note.startswith("scenario 'dear': price is outside the learned range (1")


def test_parts_of_covariates_add_up_to_the_difference(shops):
    units = shops["units"] * (1 + 0.4 * shops["promo"]) + 2 * shops["temperature"]
    fitted = Forecaster(horizon=28).fit(shops.assign(units=units), **COLUMNS, effort="instant")
    day = fitted.predict()["date"].iloc[2]
    planned = {"temperature": [35.0], "promo": [1.0]}
    keys = {"day": [day], "shop": ["north"]}
    scenarios = {"both": pd.DataFrame(keys | planned)}
    scenarios |= {name: pd.DataFrame(keys | {name: planned[name]}) for name in planned}
    table = fitted.scenarios(scenarios, days=[28], by_covariate=True)
    assert table.loc[table["measure"] != "part", "covariate"].eq("").all()
    plain = fitted.scenarios(scenarios, days=[28])
    same = table[table["measure"] != "part"].drop(columns="covariate").reset_index(drop=True)
    pd.testing.assert_frame_equal(same, plain)
    means = table.set_index(["scenario", "group", "measure", "covariate"])["mean"].sort_index()
    parts = means["both", "north", "part"]
    assert set(parts.index) == set(planned)
    whole = means["both", "north", "difference", ""]
    assert parts.sum() == pytest.approx(whole, abs=1e-9)
    for name in planned:
        alone = means[name, "north", "difference", ""]
        assert means[name, "north", "part", name] == pytest.approx(alone, abs=1e-9)
        assert parts[name] * alone > 0
    assert means["both", "south", "part"].abs().max() < 1e-9


def test_scenario_named_base_is_refused(fitted):
    planned = pd.DataFrame({"day": [fitted.predict()["date"].iloc[0]], "promo": [1.0]})
    with pytest.raises(ValueError, match="'base' is the forecast"):
        fitted.scenarios({"base": planned})


READING = {f"{name}_column": column for name, column in COLUMNS.items()}


@pytest.fixture
def shops_file(tmp_path):
    table = shop_table().assign(region=lambda t: t["shop"].map({"north": "up", "south": "down"}))
    table.to_csv(tmp_path / "shops.csv", index=False)
    return tmp_path / "shops.csv"


def test_file_of_totals_lies_beside_the_forecast(shops_file, tmp_path):
    result = forecast_file(
        shops_file,
        tmp_path / "next.csv",
        effort="instant",
        totals=["7", "weeks"],
        totals_by="region",
        reading=READING,
    )
    assert result.totals == tmp_path / "next.totals.csv"
    totals = pd.read_csv(str(result.totals), parse_dates=["first", "last"])
    assert set(totals["group"]) == {"up", "down"}
    weeks = totals[totals["first"].dt.day_of_week == 0]
    assert (weeks["last"].dt.day_of_week == 6).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"totals": ["29"]}, "TOTALS: got '29', expected days from 1 to 28"),
        ({"totals": ["7"], "totals_by": "colour"}, "TOTALS_BY: shops.csv has no column 'colour'"),
        ({"totals": ["7"], "totals_by": "promo"}, "series 'north' has 2 values, expected one"),
    ],
)
def test_wrong_totals_are_refused_before_anything_is_forecast(
    shops_file, tmp_path, options, message
):
    with pytest.raises((ParameterError, SeriesError), match=message):
        forecast_file(
            shops_file, tmp_path / "next.csv", effort="instant", reading=READING, **options
        )
    assert not (tmp_path / "next.csv").exists()
