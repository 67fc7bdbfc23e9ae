"""Which model forecasts: the production one, where it has learned these series."""

import re

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.data import to_panel, validate
from lib.forecasting import model_choice
from lib.registry import Registry
from lib.settings import get_settings
from tests.lib.forecasting.conftest import COLUMNS, shop_table

CANONICAL = {
    "date": "day",
    "value": "units",
    "series_id": "shop",
    "fator_externo": "temperature",
    "evento_especial": "promo",
}


def panel_of(table, **columns):
    return to_panel(validate(table, columns=CANONICAL | columns))


def test_model_fits_the_series_that_it_has_learned(fitted, shops):
    assert model_choice.why_unfit(fitted._model, panel_of(shops), 28) == ""


def test_newer_days_of_the_same_series_fit(fitted):
    longer = shop_table(days=150)
    more = longer.assign(day=longer["day"] + pd.Timedelta(days=150))
    table = pd.concat([longer, more]).sort_values(["shop", "day"])
    assert model_choice.why_unfit(fitted._model, panel_of(table), 28) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(shop=t["shop"] + "!"), "has not learned 'north!', 'south!'"),
        (lambda t: t.assign(units=2 * t["units"]), "100 % of the days .* had other values"),
        (lambda t: t.assign(day=t["day"] + pd.Timedelta(days=900)), "are not in this data"),
        (lambda t: t.assign(temperature=np.nan), "learned with EXTERNAL_COLUMN"),
    ],
)
def test_other_data_does_not_fit(fitted, shops, change, message):
    reason = model_choice.why_unfit(fitted._model, panel_of(change(shops)), 28)
    assert re.search(message, reason)


def test_longer_horizon_does_not_fit(fitted, shops):
    assert "fewer than 29" in model_choice.why_unfit(fitted._model, panel_of(shops), 29)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
    "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
)
def test_production_model_forecasts_the_series_it_has_learned(fitted, shops, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VAR_DIR", str(tmp_path / "var"))
    registry = Registry(get_settings(None))
    run = registry.log_run(name="shops", params={}, metrics={})
    registry.promote(registry.register(fitted._model.folder, run_id=run, metrics={}))
    model = Forecaster(horizon=7).fit(shops, **COLUMNS, effort=None)
    assert model.choice.effort == "registered"
    expected = fitted.predict()
    first = expected.groupby("series_id").head(7).reset_index(drop=True)
    pd.testing.assert_frame_equal(model.predict(), first)
    loaded = Forecaster.registered().update(shops, **COLUMNS)
    pd.testing.assert_frame_equal(loaded.predict(), expected)
    other = Forecaster(horizon=7).fit(shop_table(seed=1), **COLUMNS, effort=None)
    assert other.choice.effort == "instant"
    assert "had other values" in other.choice.reason
    monkeypatch.setenv("REGISTERED_MODEL_NAME", "other")
    unnamed = Forecaster(horizon=7).fit(shops, **COLUMNS, effort=None)
    assert unnamed.choice.reason == (
        "other has no production version; 'ProductionLSTM-Forecast' has one "
        "(REGISTERED_MODEL_NAME=ProductionLSTM-Forecast takes it)"
    )
