"""Small series that covariates drive: hidden ahead, gone, in another unit."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data import choose_validation_days, load, split_days, to_panel
from lib.evaluation import collect_forecasts, compute_metrics, origin_rows, run_backtest
from lib.features import describe_outside
from lib.forecasting.fitting import take_pretrained
from lib.inference.served_model import forecast_panel
from lib.settings import ROOT

CASES = ROOT.parent / "shared" / "cases"

DAYS = {"horizon": 14, "cutoffs": 3, "step": 14}
COLUMNS = ("temp", "promo")
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no shared/cases beside the project")


def panel_of_case(name, covariates=COLUMNS):
    return to_panel(load(CASES / name, covariates=covariates))


def learn(panel, folder):
    """The pretrained network, with effects and calibration of the days before the cutoffs."""
    split = split_days(panel, validation_days=choose_validation_days(panel, **DAYS), **DAYS)
    return take_pretrained(panel, folder, horizon=14, split=split)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    panel = panel_of_case("cov.csv")
    return panel, learn(panel, tmp_path_factory.mktemp("case"))


def without_ahead(panel, origin, names):
    """The panel as it is known at an origin, where some covariates are not planned."""
    series = panel.series(int(panel.series_of(np.array([origin]))[0]))
    ahead = np.zeros(len(panel.values), dtype=bool)
    ahead[origin + 1 : series.stop] = True
    hidden = (
        replace(c, values=np.where(ahead, np.nan, c.values)) if c.name in names else c
        for c in panel.covariates
    )
    return replace(panel, covariates=tuple(hidden))


def scores_without(panel, model, names):
    origins = origin_rows(panel, **DAYS)
    quantiles = [
        forecast_panel(model, without_ahead(panel, origin, names), np.array([origin]))
        for origin in origins
    ]
    result = collect_forecasts(
        panel,
        origins,
        14,
        quantiles=np.concatenate(quantiles),
        levels=model.contract.quantiles,
    )
    return compute_metrics(result)


@pytest.mark.parametrize("names", [(), ("temp",), ("promo",), ("temp", "promo")])
def test_intervals_hold_whichever_covariate_is_unknown_ahead(case, names):
    panel, model = case
    # Of 84 days of two series; without training the widths of easy series are on the safe side.
    assert scores_without(panel, model, names)["coverage_80"] >= 65


def test_covariates_that_are_known_make_the_error_a_third(case):
    panel, model = case
    known, unknown = (scores_without(panel, model, names)["mase"] for names in ((), COLUMNS))
    assert known < unknown / 3


def test_covariate_that_ends_is_as_if_it_were_not_there(tmp_path):
    ended = panel_of_case("cov_factor_nan_in_test.csv")
    without = panel_of_case("cov_factor_nan_in_test.csv", covariates=("promo",))
    scores = []
    for name, panel in (("ended", ended), ("without", without)):
        model = learn(panel, tmp_path / name)
        scores.append(compute_metrics(run_backtest(model, panel, origin_rows(panel, **DAYS))))
    assert scores[0]["coverage_80"] == pytest.approx(scores[1]["coverage_80"], abs=12)
    assert scores[0]["mase"] < 1.15 * scores[1]["mase"]


def test_covariate_in_another_unit_is_named_and_bounded(tmp_path):
    panel = panel_of_case("cov_factor_fahrenheit_in_test.csv")
    model = learn(panel, tmp_path / "model")
    origins = origin_rows(panel, **DAYS)
    (doubt,) = describe_outside(model.covariates.effects, panel, origins, 14)
    assert "temp is outside the learned range" in doubt
    assert compute_metrics(run_backtest(model, panel, origins))["mase"] < 1.5


def test_covariate_in_another_unit_counts_as_unknown(tmp_path):
    panel = panel_of_case("cov_factor_fahrenheit_in_test.csv")
    model = learn(panel, tmp_path / "model")
    origins = origin_rows(panel, **DAYS)
    hidden = [
        forecast_panel(model, without_ahead(panel, origin, ("temp",)), np.array([origin]))
        for origin in origins[:1]
    ]
    np.testing.assert_array_equal(forecast_panel(model, panel, origins[:1]), hidden[0])
    (doubt,) = describe_outside(model.covariates.effects, panel, origins, 14)
    assert "count as unknown" in doubt
