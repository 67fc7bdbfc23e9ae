"""The public class: from a DataFrame to a DataFrame."""

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.data import SeriesError, split_days, to_panel, validate
from lib.forecasting.fitting import take_pretrained
from lib.models.config import QUANTILES
from lib.pipeline import ParameterError
from lib.registry import RegistryError
from tests.lib.forecasting.conftest import COLUMNS, SHARED, shop_table

LEVELS = [f"q{level:g}" for level in QUANTILES]


def test_predict_gives_the_days_after_the_last_value(fitted):
    forecast = fitted.predict()
    assert list(forecast) == ["series_id", "date", "mean", *LEVELS]
    north = forecast[forecast["series_id"] == "north"]
    expected = pd.date_range("2024-05-30", periods=28)
    assert north["date"].tolist() == expected.tolist()
    assert len(forecast) == 56


def test_quantiles_rise_and_mean_lies_within_them(fitted):
    forecast = fitted.predict()
    assert (np.diff(forecast[LEVELS].to_numpy(), axis=1) >= 0).all()
    assert (forecast["mean"] > forecast["q0.05"]).all()
    assert (forecast["mean"] < forecast["q0.95"]).all()


def test_forecast_is_the_same_to_the_bit_when_made_again(shops, fitted):
    again = Forecaster(horizon=28).fit(shops, **COLUMNS, effort="instant")
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)


def test_order_of_columns_and_type_of_dates_do_not_matter(shops, fitted):
    other = shops[["units", "promo", "day", "temperature", "shop"]]
    other = other.assign(day=other["day"].dt.strftime("%Y-%m-%d"))
    again = Forecaster(horizon=28).fit(other, **COLUMNS, effort="instant")
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)


def test_planned_days_of_future_change_their_forecast(fitted):
    plain = fitted.predict()
    planned = pd.DataFrame({"day": ["2024-06-01"], "shop": ["north"], "promo": [1.0]})
    changed = fitted.predict(planned)
    differs = (plain[LEVELS] != changed[LEVELS]).any(axis=1)
    assert differs.any()
    assert set(plain.loc[differs, "series_id"]) == {"north"}


def test_planned_rows_of_the_table_are_the_future(shops, fitted):
    day = pd.Timestamp("2024-05-30")
    rows = pd.DataFrame({"shop": ["north", "south"], "day": day, "promo": 1.0})
    table = pd.concat([shops, rows], ignore_index=True)
    within = Forecaster(horizon=28).fit(table, **COLUMNS, effort="instant").predict()
    beside = fitted.predict(pd.DataFrame({"day": [day], "promo": [1.0]}))
    pd.testing.assert_frame_equal(within, beside, check_exact=True)


def test_trailing_blank_rows_are_missing_values_before_the_forecast(shops):
    rows = pd.DataFrame(
        {"shop": "north", "day": pd.date_range("2024-05-30", periods=3), "units": np.nan}
    )
    table = pd.concat([shops[shops["shop"] == "north"], rows, shops[shops["shop"] == "south"]])
    forecast = Forecaster(horizon=28).fit(table, **COLUMNS, effort="instant").predict()
    first = forecast.groupby("series_id")["date"].min()
    assert first["north"] == pd.Timestamp("2024-06-02")
    assert first["south"] == pd.Timestamp("2024-05-30")


def test_ended_series_is_left_out_by_name_unless_requested(shops):
    table = shops[(shops["shop"] == "north") | (shops["day"] < "2024-04-15")]
    model = Forecaster(horizon=28).fit(table, **COLUMNS, effort="instant")
    assert set(model.predict()["series_id"]) == {"north"}
    assert "'south'" in model.notes[0]
    assert set(model.predict(include_ended=True)["series_id"]) == {"north", "south"}


def test_series_without_a_name_is_one_series(shops):
    table = shops[shops["shop"] == "north"]
    forecast = Forecaster(horizon=3).fit(table, "day", "units", effort="instant").predict()
    assert forecast["series_id"].tolist() == ["series"] * 3


def test_country_marks_holidays_among_the_coming_days():
    days = pd.date_range("2024-08-01", periods=140)  # up to 2024-12-18
    table = pd.DataFrame({"date": days, "value": 50.0 + np.arange(140) % 7})
    plain = Forecaster(horizon=14).fit(table, effort="instant").predict()
    marked = Forecaster(horizon=14, country="BR").fit(table, effort="instant").predict()
    assert not np.array_equal(plain[LEVELS].to_numpy(), marked[LEVELS].to_numpy())


def test_save_and_load_give_the_same_forecast(fitted, tmp_path):
    again = Forecaster.load(fitted.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)
    assert again.choice == fitted.choice
    planned = pd.DataFrame({"day": ["2024-06-01"], "promo": [1.0]})
    pd.testing.assert_frame_equal(again.predict(planned), fitted.predict(planned))


def test_update_forecasts_from_a_newer_history(fitted, tmp_path):
    model = Forecaster.load(fitted.save(tmp_path / "model"))
    model.update(shop_table(days=160))
    assert model.predict()["date"].min() == pd.Timestamp("2024-06-09")


def test_load_of_another_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Forecaster\.save"):
        Forecaster.load(tmp_path)


def test_backtest_scores_ours_beside_the_baselines(fitted, shops):
    scores = fitted.backtest(shops, cutoffs=2, step=14)
    assert scores["forecaster"].tolist()[0] == "ours"
    assert {"naive", "seasonal_naive"} <= set(scores["forecaster"])
    ours, naive = scores.iloc[0], scores.set_index("forecaster").loc["naive"]
    assert ours["days"] == 2 * 2 * 28
    assert ours["mase"] < naive["mase"]


def test_backtest_looks_at_nothing_after_the_first_cutoff(shops, tmp_path):
    later = shops["day"] > shops["day"].max() - pd.Timedelta(days=14)
    changed = shops.assign(units=shops["units"].where(~later, 10 * shops["units"]))
    columns = {"date": "day", "value": "units", "series_id": "shop"}
    models = []
    for name, table in (("as_is", shops), ("changed", changed)):
        panel = to_panel(validate(table, columns=columns))
        split = split_days(panel, horizon=14, cutoffs=1, step=14, validation_days=28)
        models.append(take_pretrained(panel, tmp_path / name, horizon=14, split=split))
    weights = [(model.folder / "weights.safetensors").read_bytes() for model in models]
    assert weights[0] == weights[1]


def test_explain_sums_to_the_difference_from_the_base(fitted):
    why = fitted.explain(series="south", date="2024-06-02")
    assert why["series_id"].unique().tolist() == ["south"]
    assert why.set_index("feature").loc["lag_1", "meaning"] == "the day before"
    gap = why["share"].sum() - (why.attrs["forecast"] - why.attrs["base_value"])
    assert abs(gap) < 1e-3
    south = fitted.predict().query("series_id == 'south'").set_index("date")
    assert why.attrs["forecast"] == pytest.approx(south.loc["2024-06-02", "q0.5"])


def test_explain_of_a_past_day_forecasts_it_from_the_day_before(fitted):
    why = fitted.explain(series="north", date="2024-05-20")
    assert why["date"].iloc[0] == pd.Timestamp("2024-05-20")


@pytest.mark.parametrize(
    ("series", "date", "message"),
    [
        ("west", None, "expected one of 'north', 'south', got 'west'"),
        (None, "2031-01-01", "expected a day from 2024-01-02 to 2024-06-26"),
        (None, "soon", "expected YYYY-MM-DD"),
    ],
)
def test_explain_refuses_unknown_series_and_days(fitted, series, date, message):
    with pytest.raises(SeriesError, match=message):
        fitted.explain(series, date)


def test_unknown_column_is_named_with_those_that_exist(shops):
    with pytest.raises(SeriesError, match=r"there is no column 'unit'.*'units' is near"):
        Forecaster().fit(shops, date="day", value="unit", effort="instant")


def test_unknown_effort_is_refused_before_the_data_is_read():
    with pytest.raises(ParameterError, match="EFFORT: got 'huge', expected instant, registered"):
        Forecaster().fit(pd.DataFrame({"date": [], "value": []}), effort="huge")


def test_covariates_that_are_no_columns_are_refused_by_name(shops):
    with pytest.raises(SeriesError, match=r"no column 'price'.*covariates"):
        Forecaster().fit(shops, "day", "units", covariates=["price"])


def test_predict_before_fit_says_what_to_call():
    with pytest.raises(RuntimeError, match="call fit"):
        Forecaster().predict()


def test_registered_without_a_registry_says_what_to_do():
    with pytest.raises(RegistryError, match="nobody has no production version"):
        Forecaster.registered("nobody")


def test_without_an_effort_and_a_registry_the_pretrained_network_forecasts(shops):
    model = Forecaster(horizon=7).fit(shops, **COLUMNS, effort=None)
    assert model.choice.effort == "instant"
    assert "no production version" in model.choice.reason


def test_notes_say_which_covariates_are_known_ahead(shops):
    model = Forecaster(horizon=28).fit(shops, **COLUMNS, effort="instant")
    model.predict()
    assert model.notes[0].startswith("temperature is not known for the days ahead")
    assert model.notes[1].startswith("promo is not known for the days ahead")
    days = pd.date_range("2024-05-30", periods=28)
    model.predict(pd.DataFrame({"day": days, "temperature": 20.0}))
    assert model.notes[0] == "temperature is known for all days ahead"
    model.predict(pd.DataFrame({"day": days[:3], "shop": "north", "promo": 1.0}))
    assert model.notes[1] == "promo is known for 3 of the 56 days ahead of all 2 series"


def test_notes_say_whether_the_holidays_of_the_country_are_used(shops):
    table = shops[["shop", "day", "units"]]
    model = Forecaster(horizon=7, country="BR").fit(table, "day", "units", "shop", effort="instant")
    model.predict()
    assert model.notes == ["the public holidays of BR are known for all days ahead"]
    model.update(shops, event="promo").predict()
    assert model.notes[0] == "the holidays of BR are used beside the events of promo"


@pytest.mark.slow
def test_fit_by_a_profile_trains_on_all_known_days(shops):
    model = Forecaster(horizon=7, seed=1).fit(shops, **COLUMNS, effort="ci")
    again = Forecaster(horizon=7, seed=1).fit(shops, **COLUMNS, effort="ci")
    pd.testing.assert_frame_equal(model.predict(), again.predict(), check_exact=True)
    assert model.choice.model.endswith("profile ci")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"there is no {SHARED}")
def test_bicycles_are_forecast_for_january_2013():
    df = pd.read_csv(SHARED / "bike_sharing_day.csv")
    forecast = Forecaster(horizon=28).fit(df, "dteday", "cnt", effort="instant").predict()
    assert forecast["date"].tolist() == pd.date_range("2013-01-01", "2013-01-28").tolist()
    assert (forecast[LEVELS].to_numpy() >= 0).all()


def test_repr_shows_horizon_model_and_span(fitted):
    assert repr(Forecaster()) == "<Forecaster(horizon=28): not fitted; no history>"
    assert repr(fitted) == (
        "<Forecaster(horizon=28): the pretrained network, not trained on this data; "
        "2 series, 2024-01-01 to 2024-05-29>"
    )


@pytest.mark.parametrize("days", [1, 3, 14, 59])
def test_series_of_any_length_is_forecast_and_told_what_it_rests_on(shops, days):
    south = shops[shops["shop"] == "south"].tail(days)
    for table in (south, pd.concat([shops[shops["shop"] == "north"], south])):
        model = Forecaster(horizon=14).fit(table, **COLUMNS, effort="instant")
        forecast = model.predict()
        forecast = forecast[forecast["series_id"] == "south"]
        assert np.isfinite(forecast[LEVELS]).all(axis=None)
        assert (np.diff(forecast[LEVELS].to_numpy(), axis=1) >= 0).all()
        assert (forecast[LEVELS] >= 0).all(axis=None)
        [note] = [note for note in model.notes if "known:" in note]
        assert note.startswith(f"'south', {days} day")


def test_training_still_wants_a_window_of_days(shops):
    with pytest.raises(SeriesError, match="expected at least 60"):
        Forecaster(horizon=14).fit(shops[:59], **COLUMNS, effort="default")


def test_explanation_of_a_young_series_is_of_its_forecast(shops):
    south = shops[shops["shop"] == "south"].tail(14)
    table = pd.concat([shops[shops["shop"] == "north"], south])
    model = Forecaster(horizon=7).fit(table, **COLUMNS, effort="instant")
    forecast = model.predict()
    expected = forecast.loc[forecast["series_id"] == "south", "q0.5"].iloc[0]
    why = model.explain(series="south")
    assert why.attrs["forecast"] == pytest.approx(expected, rel=1e-4)
    assert not why.attrs["base_of_series"]
    gained = why.attrs["forecast"] - why.attrs["base_value"]
    assert why["share"].sum() == pytest.approx(gained, abs=1e-3)
