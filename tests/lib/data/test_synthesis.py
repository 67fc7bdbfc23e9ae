"""The synthetic series against their truth, and the guarantees about seeds and dials."""

import time
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from lib.data import components, synthesis_spec
from lib.data.panel import fingerprint
from lib.data.plots import plot_components, plot_events, plot_factor, plot_seasons, plot_series
from lib.data.series_tables import to_table
from lib.data.synthesis import HOLIDAY_STRENGTH, synthesize
from lib.data.synthesis_spec import SpecError, SynthesisSpec

SPEC = SynthesisSpec(n_series=3, n_days=800)
BIG = SynthesisSpec(n_series=40)
SHARES = ["weekly", "yearly", "holiday", "factor_effect", "event_effect"]
FACTS = ["regime", "turbulent", "anomaly", "missing"]
# A dial, and the columns of the truth it may move when it goes to zero.
OFF = {
    "trend": {"regime"},
    "volatility": {"turbulent"},
    "noise": set(),
    "weekly": {"weekly"},
    "yearly": {"yearly"},
    "amplitude_drift": {"weekly", "yearly"},
    "holiday": {"holiday"},
    "factor": {"factor_effect"},
    "event": {"event_effect"},
    "anomaly": {"anomaly"},
    "missing": {"missing"},
}


@pytest.fixture(scope="module")
def big():
    return synthesize(BIG, 5)


def shares(truth: pd.DataFrame) -> pd.DataFrame:
    return truth[SHARES].div(truth["trend"], axis=0)


def test_seed_gives_the_same_bits_and_another_seed_others():
    first, truth = synthesize(SPEC, 3)
    again, truth_again = synthesize(SPEC, 3)
    assert fingerprint(first) == fingerprint(again)
    pd.testing.assert_frame_equal(truth, truth_again, check_exact=True)
    assert fingerprint(synthesize(SPEC, 4)[0]) != fingerprint(first)


def test_more_series_leave_the_first_ones_as_they_were():
    few, _ = synthesize(SPEC, 3)
    many, _ = synthesize(replace(SPEC, n_series=7), 3)
    for name in ("values", "factor", "event"):
        whole = getattr(few, name)
        np.testing.assert_array_equal(getattr(many, name)[: len(whole)], whole)


@pytest.mark.parametrize("dial", OFF)
def test_dial_at_zero_switches_its_effect_off_and_moves_nothing_else(dial):
    panel, truth = synthesize(SPEC, 3)
    off_panel, off = synthesize(replace(SPEC, **{dial: 0.0}), 3)
    for name in set(FACTS) - OFF[dial]:
        assert (off[name] == truth[name]).all(), name
    before, after = shares(truth), shares(off)
    for name in set(SHARES) - OFF[dial]:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-12, atol=1e-15)
    for name in OFF[dial] & set(SHARES) if dial != "amplitude_drift" else ():
        assert (off[name] == 0).all()
    if dial != "trend":  # everything is a share of the trend, so only this one may move units
        np.testing.assert_array_equal(off["trend"], truth["trend"])
    if dial not in ("noise", "volatility"):
        noise = [(t["volatility"] / t["trend"]).to_numpy() for t in (truth, off)]
        np.testing.assert_allclose(noise[1], noise[0], rtol=1e-12)
    np.testing.assert_array_equal(off_panel.factor, panel.factor)
    np.testing.assert_array_equal(off_panel.event, panel.event)
    assert not np.array_equal(off_panel.values, panel.values, equal_nan=True)


def test_dials_all_at_zero_leave_one_constant_per_series():
    spec = replace(SPEC, **dict.fromkeys(OFF, 0.0))
    panel, truth = synthesize(spec, 3)
    values = panel.values.reshape(spec.n_series, -1)
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1], values.shape))
    assert (truth["volatility"] == 0).all()
    assert (truth["regime"] == 0).all()
    assert (truth["anomaly"] == "none").all()


def test_noise_has_the_stated_deviation_outside_anomalies(big):
    truth = big[1]
    clean = truth[truth["anomaly"] == "none"]
    noise = clean["true_value"] - clean["signal"]
    assert (noise / clean["volatility"]).std() == pytest.approx(1.0, abs=0.02)
    assert (noise / clean["volatility"]).mean() == pytest.approx(0.0, abs=0.02)
    share = noise / clean["trend"]
    assert share[~clean["turbulent"]].std() == pytest.approx(0.06, rel=0.03)
    assert share[clean["turbulent"]].std() == pytest.approx(0.06 * 1.6, rel=0.03)
    assert 0.06 < share.std() < 0.08


def test_signal_is_the_sum_of_its_components(big):
    truth = big[1]
    total = truth[["trend", *SHARES]].sum(axis=1)
    np.testing.assert_allclose(truth["signal"], total.clip(lower=0), rtol=1e-12)


def test_events_raise_the_value_by_the_dial_and_move_the_days_around():
    spec = replace(BIG, country="", anomaly=0.0, missing=0.0)
    panel, truth = synthesize(spec, 5)
    strength = panel.event.reshape(spec.n_series, -1)
    without, _ = synthesize(replace(spec, event=0.0), 5)
    raised = (panel.values - without.values) / truth["trend"].to_numpy()
    raised = raised.reshape(strength.shape)
    rows, days = np.nonzero(strength)
    inner = (days > 1) & (days < spec.n_days - 2)
    rows, days = rows[inner], days[inner]
    for offset, weight in components.EVENT_PROFILE.items():
        expected = spec.event * weight * strength[rows, days]
        np.testing.assert_allclose(raised[rows, days + offset], expected, atol=1e-12)
    per_year = (strength > 0).sum() / spec.n_series / spec.n_days * 365.25
    assert per_year == pytest.approx(spec.events_per_year, rel=0.15)


def test_factor_drives_the_target_after_its_lag():
    spec = replace(SPEC, factor_lag=4)
    panel, truth = synthesize(spec, 3)
    effect = (truth["factor_effect"] / truth["trend"]).to_numpy().reshape(3, -1)
    factor = panel.factor.reshape(3, -1)
    mixed = 0.6 * factor[:, 1:-4] + 0.4 * factor[:, :-5]
    for series in range(3):
        slope, _ = np.polyfit(mixed[series], effect[series, 5:], 1)
        assert np.corrcoef(mixed[series], effect[series, 5:])[0, 1] == pytest.approx(1.0)
        assert slope == pytest.approx(spec.factor / 5, rel=0.6)


def test_factor_recursion_equals_a_plain_loop():
    days = np.datetime64("2021-01-01") + np.arange(50)
    factor, _ = components.draw_factor(
        replace(SPEC, n_days=50), days, components.generators_of(np.random.SeedSequence(1))
    )
    next_rng = components.generators_of(np.random.SeedSequence(1))
    n_days = 50 + synthesis_spec.MAX_LAG + 1
    shocks = next_rng().standard_normal((3, n_days)) + next_rng().standard_normal(n_days)
    state = shocks[:, 0] / np.sqrt(2)
    for day in range(1, n_days):
        state = 0.85 * state + np.sqrt((1 - 0.85**2) / 2) * shocks[:, day]
    season = 22 + 6 * np.cos(2 * np.pi * 49 / 365.25 - 0.25)
    np.testing.assert_allclose(factor[:, -1], season + 3 * state, rtol=1e-9)


def test_holidays_are_marked_and_move_the_day():
    spec = replace(SPEC, event=0.0, events_per_year=0.0)
    panel, truth = synthesize(spec, 3)
    christmas = panel.dates == np.datetime64("2021-12-25")
    assert (panel.event[christmas] == HOLIDAY_STRENGTH).all()
    assert (truth["holiday"] / truth["trend"])[christmas].between(0.7 * 0.25, 1.3 * 0.25).all()
    assert (truth["holiday"][panel.dates == np.datetime64("2021-03-10")] == 0).all()
    none, _ = synthesize(replace(spec, country=""), 3)
    assert (none.event == 0).all()


def test_gaps_hide_the_values_of_the_series_without_gaps():
    panel, truth = synthesize(SPEC, 3)
    whole, _ = synthesize(replace(SPEC, missing=0.0), 3)
    np.testing.assert_array_equal(truth["true_value"], whole.values)
    assert np.isnan(panel.values[truth["missing"]]).all()
    np.testing.assert_array_equal(
        panel.values[~truth["missing"]], whole.values[~truth["missing"].to_numpy()]
    )


def test_anomalies_and_gaps_have_their_shares_and_kinds(big):
    truth = big[1]
    share = truth["anomaly"].value_counts(normalize=True)
    assert 1 - share["none"] == pytest.approx(BIG.anomaly, rel=0.25)
    assert (share[list(components.ANOMALIES)] > 0.001).all()
    assert truth["missing"].mean() == pytest.approx(BIG.missing, rel=0.15)


def test_anomalies_move_the_value_the_way_their_name_says():
    truth = synthesize(replace(BIG, noise=0.0, anomaly=0.05), 5)[1]
    moved = (truth["true_value"] - truth["signal"]) / truth["trend"]
    # A level shift under way may add to a spike or a dip.
    assert (moved[truth["anomaly"] == "spike"] > 0).mean() > 0.98
    assert (moved[truth["anomaly"] == "dip"] < 0).mean() > 0.98
    assert (moved[truth["anomaly"] == "none"] == 0).all()
    shifts = moved[truth["anomaly"] == "level_shift"].abs()
    assert shifts.min() > 0
    assert shifts.max() < 1.0
    stuck = (truth["anomaly"] == "stuck").to_numpy()
    repeated = truth["true_value"].diff().to_numpy()[stuck] == 0
    assert repeated.mean() > 0.95  # where two runs touch, the later one wins


def test_regimes_last_about_as_long_as_stated(big):
    changes = big[1].groupby("series_id", observed=True)["regime"].max()
    assert 1.2 < changes.mean() < 2.6  # 1,095 days of 540
    assert big[1]["turbulent"].mean() == pytest.approx(45 / 195, abs=0.07)


def test_values_are_never_negative_unless_allowed():
    wild = replace(SPEC, noise=1.0, weekly=1.0)
    assert np.nanmin(synthesize(wild, 3)[0].values) == 0.0
    assert np.nanmin(synthesize(replace(wild, non_negative=False), 3)[0].values) < 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weekly": -0.1}, "weekly: expected 0.0 to 1.0 .*got -0.1"),
        ({"weekly": float("nan")}, "weekly: expected 0.0 to 1.0"),
        ({"weekly": "0.1"}, r"weekly: expected float, got '0.1' \(str\)"),
        ({"n_days": 10.0}, r"n_days: expected int, got 10.0 \(float\)"),
        ({"n_series": True}, "n_series: expected int"),
        ({"start": "01/02/2021"}, "start: expected a day like 2021-01-01"),
        ({"country": "Brasil"}, "does not know 'Brasil'"),
    ],
)
def test_spec_refuses_what_it_cannot_mean(values, message):
    with pytest.raises(SpecError, match=message):
        SynthesisSpec(**values)


def test_every_float_dial_is_tested_for_off():
    others = {"level", "events_per_year"}
    assert {f.name for f in fields(SynthesisSpec) if f.type == "float"} - others == set(OFF)


def test_figures_are_drawn_with_and_without_the_truth():
    panel, truth = synthesize(replace(SPEC, n_days=200), 3)
    table = to_table(panel)
    for known in (truth, None):
        assert len(plot_series(table, known).axes) == 3
        assert plot_factor(table, known).axes[0].get_xlabel().startswith("lag")
        assert "event" in plot_events(table, known).axes[0].get_xlabel()
    assert len(plot_components(truth, panel.ids[0]).axes) == 6
    assert len(plot_seasons(table).axes) == 2


@pytest.mark.slow
def test_a_thousand_series_of_3000_days_take_less_than_five_seconds():
    start = time.process_time()
    synthesize(SynthesisSpec(n_series=1000, n_days=3000), 0)
    assert time.process_time() - start < 5
