"""Covariates of the public class: in by name, ahead by plan, kept by save and load."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.data import SeriesError, to_panel
from lib.forecasting.files import forecast_file
from lib.forecasting.history import look_ahead
from tests.lib.forecasting.conftest import shop_table

NAMES: dict[str, Any] = {
    "covariates": ["price", "weather"],
    "past_covariates": ["visits"],
    "static_covariates": ["region"],
}
FIT: dict[str, Any] = {"date": "day", "value": "units", "series": "shop", "effort": "instant"}


def sales():
    table = shop_table().drop(columns=["temperature", "promo"])
    rng = np.random.default_rng(1)
    return table.assign(
        price=rng.uniform(1, 2, len(table)).round(2),
        weather=rng.choice(["Sun", "Rain"], len(table)),
        visits=rng.integers(50, 99, len(table)),
        region=table["shop"].map({"north": "cold", "south": "warm"}),
    )


@pytest.fixture(scope="module")
def fitted():
    model = Forecaster(horizon=14, country="BR", state="SP")
    return model.fit(sales(), **FIT, **NAMES)


def plan(days=14, **columns):
    frame = pd.DataFrame({"day": pd.date_range("2024-05-30", periods=days)})
    return frame.assign(**columns)


def ahead_of(model, future=None):
    ahead = look_ahead(model._history, future, longest=28, horizon=model.horizon)
    return {c.name: c for c in ahead.panel.covariates}, ahead


def test_contract_names_roles_kinds_and_labels(fitted):
    described = fitted._model.contract.settings["covariates"]
    facts = [(item["name"], item["role"], item["kind"]) for item in described]
    assert facts == [
        ("price", "known", "number"),
        ("weather", "known", "category"),
        ("visits", "past", "number"),
        ("region", "static", "category"),
        ("holiday", "known", "holiday"),
    ]
    assert described[1]["labels"] == ["Rain", "Sun"]
    assert described[4]["calendar"] == "BR:SP"


def test_days_ahead_have_plans_statics_and_holidays(fitted):
    covariates, ahead = ahead_of(fitted, plan(price=1.5, weather="Rain"))
    rows = ahead.origins[:, None] + np.arange(1, 15)
    assert (covariates["price"].values[rows] == 1.5).all()
    assert np.isnan(covariates["visits"].values[rows]).all()
    region = covariates["region"]
    assert [region.labels[int(v)] for v in region.values[rows[:, 0]]] == ["cold", "warm"]
    holiday = covariates["holiday"]
    corpus_christi = holiday.values[rows[0, 0]]  # 2024-05-30
    assert holiday.labels[int(corpus_christi)] == "Corpus Christi"
    assert np.isfinite(holiday.values).all()


def test_forecast_says_which_covariates_were_known(fitted):
    fitted.predict(plan(price=1.5).assign(weather=["Sun"] * 7 + [None] * 7))
    assert "weather is known for 14 of the 28 days ahead of all 2 series" in fitted.notes
    assert "price is known for all days ahead" in fitted.notes
    fitted.predict()
    unknown = "price, weather are not known for the days ahead, so they are forecast without them"
    assert any(note.startswith(unknown) for note in fitted.notes)


def test_plans_by_row_and_by_file_are_the_same(fitted, tmp_path):
    future = plan(price=1.25, weather="Sun")
    table = pd.concat([sales(), *(future.assign(shop=s) for s in ("north", "south"))])
    within = Forecaster(14, "BR", 0, "SP").fit(table, **FIT, **NAMES).predict()
    pd.testing.assert_frame_equal(within, fitted.predict(future))
    sales().to_csv(tmp_path / "sales.csv", index=False)
    future.to_csv(tmp_path / "planned.csv", index=False)
    result = forecast_file(
        tmp_path / "sales.csv",
        tmp_path / "next.csv",
        horizon=14,
        effort="instant",
        future=tmp_path / "planned.csv",
        country="BR",
        state="SP",
        reading={"date_column": "day", "value_column": "units", "series_column": "shop"} | NAMES,
    )
    pd.testing.assert_frame_equal(result.forecast, within, rtol=1e-9)
    report = result.report.read_text()
    assert "**Note.** price, weather are known for all days ahead." in report


def test_unknown_categories_of_a_plan_are_logged_and_unknown(fitted, caplog):
    with caplog.at_level("WARNING"):
        ahead = fitted._look_ahead(plan(weather="Hail"), include_ended=False)
    weather = next(c for c in ahead.panel.covariates if c.name == "weather")
    assert np.isnan(weather.values[ahead.origins + 1]).all()
    assert weather.labels == ("Rain", "Sun")
    assert "weather" in caplog.text
    assert "Hail" in caplog.text


def test_wrong_plans_name_column_and_row(fitted):
    with pytest.raises(SeriesError, match=r"future, column 'price', row 1.*got 'dear'"):
        fitted.predict(plan(price=["1.5", "dear"] * 7))


def test_save_load_and_update_keep_names_and_kinds(fitted, tmp_path):
    again = Forecaster.load(fitted.save(tmp_path))
    future = plan(price=1.5, weather="Rain")
    pd.testing.assert_frame_equal(again.predict(future), fitted.predict(future))
    assert json.loads((tmp_path / "forecaster.json").read_text())["state"] == "SP"
    few = sales().groupby("shop").head(140).drop(columns="visits").assign(weather="Sun")
    updated = again.update(few)
    assert "known:category:weather" in updated.history
    assert "past:number:visits" not in updated.history
    panel = updated._look_ahead(None, include_ended=False).panel
    assert [c.name for c in panel.covariates] == ["price", "weather", "visits", "region", "holiday"]
    assert len(updated.predict()) == 28


def test_codes_that_look_like_numbers_stay_categories_in_later_tables():
    table = sales().assign(code=np.tile([1, 2, 3], 100))
    model = Forecaster(7).fit(table, **FIT, covariates=["code"])
    model.update(table.assign(code=2.5))
    assert "known:category:code" in model.history
    panel = model._look_ahead(None, include_ended=False).panel
    assert np.isnan(panel.covariates[0].values).all()


def test_covariates_of_a_loaded_table_get_their_holidays_ahead():
    from lib.data import validate

    table = validate(
        sales().rename(columns={"shop": "series_id", "day": "date", "units": "value"})[
            ["series_id", "date", "value"]
        ],
        country="BR",
    )
    model = Forecaster(7).fit_table(table, "instant")
    covariates, ahead = ahead_of(model)
    label = covariates["holiday"].labels[int(covariates["holiday"].values[ahead.origins[0] + 1])]
    assert label == "Corpus Christi"
    assert to_panel(table).covariates[0].calendar == "BR"


def test_backtest_takes_the_covariates_of_the_fit(fitted, monkeypatch):
    import lib.forecasting.scoring as scoring

    seen = []
    monkeypatch.setattr(scoring, "score_forecasts", lambda panel, **_: seen.append(panel))
    fitted.backtest(sales(), cutoffs=1)
    Forecaster(14).backtest(sales(), date="day", value="units", series="shop", covariates=["price"])
    assert [c.name for c in seen[0].covariates][:2] == ["price", "weather"]
    assert [c.name for c in seen[1].covariates] == ["price"]
