"""What one series is like changes nothing for the others: constants, negative values, spikes."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data.loading import load
from lib.data.panel import Panel
from lib.data.series_tables import to_panel
from lib.data.splits import choose_validation_days, split_days
from lib.evaluation.backtest import origin_rows, run_backtest
from lib.evaluation.metrics import coverage
from lib.inference.artifact import NONNEGATIVE_SERIES, SERIES_SPREAD
from lib.inference.bounds import cover_zeros
from lib.inference.served_model import forecast_panel
from lib.models.config import ModelConfig
from lib.settings import ROOT
from lib.training import calibration, loop
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.export import save_artifact
from tests.networks import MODEL, TRAINING, weights_hash
from tests.panels import lively_panel, panel_of, split_of

CASES = ROOT.parent / "shared" / "cases"
ENDS = np.array([150, 350])  # an origin of each of two series of 200 days
SPANS = {"horizon": 14, "cutoffs": 3, "step": 14}


def beside(panel: Panel, *columns) -> Panel:
    """The panel of one series with others behind it, all over the same days."""
    other = panel_of(*columns, first=panel.dates[0])
    return replace(
        panel,
        ids=tuple(f"s{i}" for i in range(1 + len(columns))),
        offsets=np.append(panel.offsets, panel.offsets[-1] + other.offsets[1:]),
        dates=np.append(panel.dates, other.dates),
        values=np.append(panel.values, other.values),
        factor=np.append(panel.factor, other.factor),
        event=np.append(panel.event, other.event),
    )


def trained(panel):
    split = split_of(panel)
    data = prepare(panel, split, MODEL)
    fit = calibration.calibrate(loop.fit(data, MODEL, TRAINING), data)
    return split, data, fit


@pytest.mark.parametrize("kind", ["constant", "zero", "dust", "two"])
def test_constant_beside_a_series_takes_nothing_from_it(kind):
    alone = lively_panel(days=200, series=1, covariates=False)
    constant = np.full(200, 5.0)
    dust = np.where(np.arange(200) % 2, 0.1 + 0.2, 0.3) * 1e9
    columns = {"constant": [constant], "zero": [0 * constant], "dust": [dust]}
    both = beside(alone, *columns.get(kind, [constant, dust]))
    found, expected = trained(both)[2], trained(alone)[2]
    assert weights_hash(found.model) == weights_hash(expected.model)


def test_panel_of_constants_alone_is_still_trained():
    panel = panel_of(np.full(200, 5.0), np.full(200, 0.0))
    assert len(trained(panel)[1].train.origins) > 0


def test_spike_is_no_target_and_no_feature_of_a_fit():
    clean = lively_panel(days=200, series=1, covariates=False)
    values = clean.values.copy()
    values[60] = 1e7
    blank = values.copy()
    blank[60] = np.nan
    found, expected = (trained(replace(clean, values=v))[2] for v in (values, blank))
    assert weights_hash(found.model) == weights_hash(expected.model)


def test_negative_value_of_one_series_leaves_the_floor_of_the_others(tmp_path):
    low = np.abs(np.random.default_rng(1).normal(0, 1, (2, 200)))
    panel = panel_of(low[0], low[1] + 2)
    values = panel.values.copy()
    values[250] = -5.0
    mixed = replace(panel, values=values)
    split, data, fit = trained(mixed)
    assert data.nonnegative_series == ("s0",)
    model = save_artifact(tmp_path, fit, data, mixed, split)
    assert model.contract.scaling["floor"] is None
    origins = origin_rows(mixed, horizon=7, cutoffs=4, step=7)
    features = forecast_panel(model, mixed, origins)
    first = mixed.series_of(origins) == 0
    assert features[first].min() == 0.0
    renamed = replace(mixed, ids=("new", "s1"))
    unknown = forecast_panel(model, renamed, origins)
    assert unknown[first].min() < 0
    np.testing.assert_array_equal(unknown[~first], features[~first])
    fallen = values.copy()
    fallen[100] = -1.0
    assert forecast_panel(model, replace(mixed, values=fallen), origins)[first].min() < 0


def test_panel_without_negative_values_has_one_floor_in_the_graph(tmp_path):
    panel = lively_panel(days=200)
    split, data, fit = trained(panel)
    model = save_artifact(tmp_path, fit, data, panel, split)
    assert model.contract.scaling["floor"] == 0.0
    assert NONNEGATIVE_SERIES not in model.contract.settings


def backtest_case(name, tmp_path, only=None):
    path = CASES / f"{name}.csv"
    if not path.is_file():
        pytest.skip("the small inputs are not at ../shared/cases")
    table = load(path)
    panel = to_panel(table if only is None else table[table["series_id"] == only])
    days = choose_validation_days(panel, **SPANS)
    split = split_days(panel, validation_days=days, **SPANS)
    config = ModelConfig(horizon=SPANS["horizon"])
    data = prepare(panel, split, config)
    fit = loop.fit(data, config, TrainingConfig(steps=40, evaluate_every=20))
    model = save_artifact(tmp_path, calibration.calibrate(fit, data), data, panel, split)
    return panel, run_backtest(model, panel, origin_rows(panel, **SPANS))


@pytest.mark.slow
def test_case_normal_plus_constant_covers_as_alone(tmp_path):
    shares = []
    for only in (None, "normal"):
        panel, result = backtest_case("normal_plus_constant", tmp_path / str(only), only)
        mine = result.series == panel.ids.index("normal")
        q = result.quantiles[mine]
        shares.append(coverage(result.actual[mine], q[..., 1], q[..., -2]))
    assert abs(shares[0] - shares[1]) <= 3


@pytest.mark.slow
def test_case_one_negative_leaves_the_others_at_zero_or_above(tmp_path):
    panel, result = backtest_case("one_negative", tmp_path / "one")
    others = result.series != panel.ids.index("ret")
    assert (result.quantiles[others] >= 0).all()


def test_low_quantiles_of_intermittent_demand_are_zero_and_the_rest_is_kept(tiny_model):
    rng = np.random.default_rng(3)
    sales = np.where(rng.random(200) < 0.25, rng.poisson(3, 200) + 1.0, 0.0)
    panel = panel_of(sales, 50 + sales, sales - 1)
    origins = np.array([180, 380, 580])
    levels = np.array(tiny_model.contract.quantiles)
    raw = np.tile(np.linspace(0.05, 3.0, len(levels)), (3, 4, 1))
    found = cover_zeros(tiny_model.contract, panel, origins, raw)
    low = (levels < 0.5) & (raw[0, 0] < 0.5)
    assert low.any()
    assert (found[0][:, low] == 0).all()
    np.testing.assert_array_equal(found[0][:, ~low], raw[0][:, ~low])
    np.testing.assert_array_equal(found[1:], raw[1:])


@pytest.mark.slow
def test_case_intermittent_covers_its_zeros(tmp_path):
    panel, result = backtest_case("intermittent", tmp_path / "inter")
    mine = result.series == panel.ids.index("inter")
    q = result.quantiles[mine]
    assert coverage(result.actual[mine], q[..., 1], q[..., -2]) >= 72


def noisy_and_quiet(days=500):
    """Two series with the same week, one of twice the noise in its validation and after."""
    rng = np.random.default_rng(4)
    week = 100 + 10 * np.sin(2 * np.pi * np.arange(days) / 7)
    return panel_of(week + rng.normal(0, 8, days), week + rng.standard_t(3, days) * 2)


def test_each_series_has_its_own_coverage_on_the_validation_span(tmp_path):
    panel = noisy_and_quiet()
    split = replace(split_of(panel), train_end=split_of(panel).validation_end - 150)
    data = prepare(panel, split, MODEL)
    fit = loop.fit(data, MODEL, TRAINING)
    pooled, apart = [], []
    for shares, spread in ((pooled, False), (apart, True)):
        fit = calibration.calibrate(fit, data)
        if not spread:
            fit.series_spread = {}
        model = save_artifact(tmp_path / str(spread), fit, data, panel, split)
        origins = data.validation.origins
        quantiles = forecast_panel(model, panel, origins)
        truth = data.validation.targets(np.arange(len(origins)))
        series = panel.series_of(origins)
        for number in (0, 1):
            mine = series == number
            shares.append(coverage(truth[mine], quantiles[mine, :, 1], quantiles[mine, :, -2]))
    assert max(abs(share - 80) for share in apart) < max(abs(share - 80) for share in pooled)
    assert set(model.contract.settings[SERIES_SPREAD]) == {"s0", "s1"}


def test_spread_of_a_series_leaves_its_median_and_the_order_of_quantiles(tmp_path):
    panel = lively_panel(days=200)
    split, data, fit = trained(panel)
    plain = replace_spread(fit, {})
    before = forecast_panel(save_artifact(tmp_path / "a", plain, data, panel, split), panel, ENDS)
    wider = replace_spread(fit, {"s0": 2.0, "unknown": 9.0})
    model = save_artifact(tmp_path / "b", wider, data, panel, split)
    after = forecast_panel(model, panel, ENDS)
    np.testing.assert_array_equal(after[1], before[1])  # not named
    np.testing.assert_array_equal(after[0, :, 3], before[0, :, 3])
    np.testing.assert_allclose(
        after[0, :, -1] - after[0, :, 3], 2 * (before[0, :, -1] - before[0, :, 3])
    )
    assert (np.diff(after, axis=-1) >= 0).all()


def replace_spread(fit, factors):
    return replace(fit, series_spread=factors)


def test_single_series_has_the_factors_of_the_graph_alone():
    fit = trained(lively_panel(days=200, series=1, covariates=False))[2]
    assert fit.series_spread == {}
