"""Covariates of a model where it forecasts by MLflow or by partitions."""

import numpy as np
import pandas as pd
import pytest

from lib.data import SeriesError, align_covariates, describe_covariates, to_panel, validate
from lib.inference import partitions, pyfunc, signatures
from lib.inference.artifact import Contract
from lib.inference.served_model import ServedModel
from tests.covariate_model import described, model_with_covariates
from tests.panels import TINY_MODEL

DESCRIBED = [
    described("price", "known", "number"),
    described("code", "known", "category", ["1", "2"]),
    described("region", "static", "category", ["a"]),
    described("holiday", "known", "holiday", [""], "US"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The tiny model, whose contract names four covariates."""
    folder = tmp_path_factory.mktemp("model") / "model"
    return ServedModel.load(model_with_covariates(folder, DESCRIBED))


def row(**cells):
    return {"start": "2026-01-01", "value": (100.0 + np.arange(90) % 7).tolist()} | cells


def test_rows_of_mlflow_take_covariates_by_name(model):
    rows = pd.DataFrame([row(price=[1.5] * 91, code=[1, 2, 9], region="a"), row()])
    panel, origins = pyfunc._to_panel(rows, model.contract)
    price, code, region, holiday = panel.covariates
    assert price.values[origins[0] : origins[0] + 2].tolist() == [1.5, 1.5]
    assert code.values[:2].tolist() == [0.0, 1.0]
    assert np.isnan(code.values[2])  # was not learned
    assert region.values[0] == 0.0
    assert np.isnan(region.values[-1])
    assert "Memorial Day" not in holiday.labels  # the days end in April
    assert holiday.labels[int(holiday.values[0])] == "New Year's Day"
    assert len(pyfunc.forecast_rows(model, rows)) == 2


def test_signature_names_the_covariates_but_not_the_holidays(model):
    names = signatures.signature(model.contract).inputs.input_names()
    assert names[-3:] == ["price", "code", "region"]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"price": 3.0}, "'price': expected a list"),
        ({"price": ["dear"]}, "'price': got 'dear'"),
        ({"price": [1.0] * 500}, "'price': expected a list of at most"),
    ],
)
def test_wrong_covariates_of_mlflow_name_row_and_column(model, cells, words):
    with pytest.raises(SeriesError, match=words):
        pyfunc.forecast_rows(model, pd.DataFrame([row(**cells)]))


def test_partitions_read_the_covariates_of_the_model_by_name(model, tmp_path):
    days = pd.date_range("2026-01-01", periods=91)
    frame = pd.DataFrame({"date": days, "value": 100.0 + np.arange(91) % 7, "region": "a"})
    frame = frame.assign(price=np.arange(91) / 4, code=2, other="ignored")
    frame.loc[90, "value"] = np.nan  # planned
    frame.to_parquet(tmp_path / "a.parquet")
    (panel,) = partitions.read_panels(tmp_path / "a.parquet", {}, covariates=DESCRIBED)
    assert {c.column for c in panel.covariates} == {
        "known:number:price",
        "known:category:code",
        "static:category:region",
    }
    aligned = align_covariates(panel, DESCRIBED)
    assert [c.name for c in aligned.covariates] == [item["name"] for item in DESCRIBED]
    assert (aligned.covariates[1].values == 1.0).all()
    assert partitions.last_known_rows(panel, None).tolist() == [89]


def test_a_misspelt_covariate_of_a_partition_is_refused(tmp_path):
    days = pd.date_range("2026-01-01", periods=90)
    frame = pd.DataFrame({"date": days, "value": 100.0, "prices": 1.0, "region": "a"})
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SeriesError, match=r"a.parquet: .* 'price', but 'prices'"):
        list(partitions.read_panels(tmp_path / "a.parquet", {}, covariates=DESCRIBED))


def test_a_panel_without_the_covariates_has_them_unknown(model):
    contract = Contract.read(TINY_MODEL)
    panel, _ = pyfunc._to_panel(pd.DataFrame([row()]), contract)
    assert panel.covariates == ()
    aligned = align_covariates(panel, DESCRIBED)
    assert [bool(np.isnan(c.values).all()) for c in aligned.covariates] == [True] * 3 + [False]


def test_holidays_that_were_learned_as_events_are_events_where_none_are_sent(model):
    panel, _ = pyfunc._to_panel(pd.DataFrame([row()]), model.contract)
    assert np.isnan(panel.event).all()
    learned = [DESCRIBED[0], DESCRIBED[3] | {"fills_events": True}]
    assert align_covariates(panel, learned).event[:2].tolist() == [1.0, 0.0]  # New Year
    sent, _ = pyfunc._to_panel(pd.DataFrame([row(evento_especial=[0.0])]), model.contract)
    assert align_covariates(sent, learned).event[0] == 0.0


def test_description_tells_whether_holidays_are_the_events():
    days = pd.date_range("2026-01-01", periods=90)
    frame = pd.DataFrame({"date": days, "value": np.arange(90.0)})
    filled = to_panel(validate(frame, country="US"))
    others = to_panel(validate(frame.assign(evento_especial=0.0), country="US"))
    fills = [describe_covariates(panel)[0]["fills_events"] for panel in (filled, others)]
    assert fills == [True, False]
