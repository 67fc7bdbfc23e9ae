"""Drift of covariates: numbers by distribution, events by rate, categories by shares."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from lib import features as ft
from lib.data.covariates import Covariate
from lib.monitoring import plots
from lib.monitoring.accuracy import Accuracy
from lib.monitoring.drift import detect_drift
from lib.monitoring.drift_reference import HAS_COVARIATES, build_reference, comparable
from lib.monitoring.drift_statistics import category_effect, category_stability
from lib.monitoring.findings import list_findings
from lib.monitoring.frames import from_store
from lib.monitoring.report import Report
from tests.lib.monitoring.test_report import DAY, days_before, forecast, write
from tests.years import DAYS, LIVE, cut, feature_table, year

SERIES = 4
NAMES = ("price", "promo", "weather")


@pytest.fixture(scope="module")
def panel():
    return year(0, series=SERIES)


def covariates(panel, *, price=0.0, promo=0.05, weather=(0.5, 0.4, 0.1, 0.0)):
    """Three columns of a panel's rows whose last year draws from these."""
    rng = np.random.default_rng(5)
    size = len(panel.values)
    live = np.tile(np.arange(DAYS) >= LIVE, SERIES)

    def mixed(usual, now):
        return np.where(live, now, usual)

    labels = np.array(["sun", "rain", "fog", "hail"], dtype=object)
    return {
        "price": rng.normal(10, 1, size) + mixed(0.0, price),
        "promo": 1.0 * (rng.random(size) < mixed(0.05, promo)),
        "weather": mixed(
            rng.choice(labels, size, p=[0.5, 0.4, 0.1, 0.0]), rng.choice(labels, size, p=weather)
        ),
    }


def found(panel, live_columns, **changes):
    """The check of a month after the reference, by name."""
    table = feature_table(panel).assign(**covariates(panel))
    reference = build_reference(table[table["date"] < panel.dates[LIVE].astype("datetime64[s]")])
    live = feature_table(panel).assign(**(live_columns | changes))
    last = panel.dates[LIVE + 30]
    return {one.feature: one for one in detect_drift(reference, live, last=last).features}


def test_covariates_as_they_were_are_no_drift(panel):
    result = found(panel, covariates(panel))
    assert set(NAMES) < set(result)
    assert not any(result[name].flags for name in NAMES)
    assert np.isfinite([result[name].score for name in NAMES]).all()


@pytest.mark.parametrize(
    ("name", "changed", "flags"),
    [
        ("price", {"price": 3.0}, ("distribution",)),
        ("promo", {"promo": 0.4}, ("distribution",)),
        ("weather", {"weather": (0.1, 0.3, 0.6, 0.0)}, ("distribution",)),
        ("weather", {"weather": (0.45, 0.35, 0.1, 0.1)}, ("unknown",)),
    ],
)
def test_a_covariate_that_changes_is_flagged_alone(panel, name, changed, flags):
    result = found(panel, covariates(panel, **changed))
    flagged = {one: result[one].flags for one in NAMES if result[one].flags}
    assert list(flagged) == [name]
    assert set(flags) <= set(flagged[name])


def test_what_has_moved_is_said_in_the_units_of_the_covariate(panel):
    changed = covariates(panel, price=3.0, promo=0.4, weather=(0.05, 0.35, 0.4, 0.2))
    result = found(panel, changed)
    price, promo, weather = (result[name].shift for name in NAMES)
    assert (price.kind, promo.kind, weather.kind) == ("number", "event", "category")
    assert (price.before, price.now) == pytest.approx((10.0, 13.0), abs=0.5)
    assert (promo.before, promo.now) == pytest.approx((0.05, 0.4), abs=0.15)
    assert (weather.label, weather.unknown) == ("sun", ("hail",))
    assert weather.text().startswith("'sun' on ")
    assert weather.text().endswith("unknown: 'hail'")
    assert result["lag_1"].shift is None  # beside the level of its day it has no unit


def test_missing_covariates_are_flagged(panel):
    result = found(panel, covariates(panel), weather=None, price=np.nan)
    assert result["weather"].flags == ("missing",)
    assert result["price"].flags == ("missing",)
    assert result["promo"].flags == ()


def test_rows_without_covariates_say_nothing_about_them(panel):
    columns = covariates(panel)
    has = np.arange(len(panel.values)) % 2 == 0
    for name in NAMES:
        columns[name] = np.where(has, columns[name], None)
    columns["price"] = columns["price"].astype(float)
    columns["promo"] = columns["promo"].astype(float)
    assert "missing" in found(panel, columns)["price"].flags
    marked = found(panel, columns, **{HAS_COVARIATES: has})
    assert [marked[name].flags for name in NAMES] == [()] * 3
    assert marked["price"].values < marked["lag_1"].values
    none = found(panel, columns, **{HAS_COVARIATES: False})
    assert not set(NAMES) & set(none)


def test_a_rare_category_that_the_model_has_learned_is_known(panel):
    table = feature_table(panel).assign(**covariates(panel))
    reference = build_reference(table, categories={"weather": ["hail", "fog"]})
    assert reference.labels == {"weather": ("fog", "hail", "rain", "sun")}
    live = feature_table(panel).assign(weather="hail")
    one = detect_drift(reference, live, last=panel.dates[LIVE + 30]).features[-1]
    assert (one.feature, one.outside) == ("weather", 0.0)
    assert "distribution" in one.flags


def test_categories_are_compared_by_their_name_whatever_their_type():
    table = pd.DataFrame(1.0, index=range(3), columns=list(ft.FEATURES))
    codes = comparable(table.assign(code=[1.0, 2.0, np.nan]), {"code": ("1", "3")})["code"]
    assert codes.tolist()[:2] == [0.0, 2.0]
    assert np.isnan(codes[2])


def test_effects_of_categories_follow_the_definition():
    a, b = np.repeat([0.0, 1, 2], [20, 10, 10]), np.repeat([0.0, 1, 2], [10, 10, 20])
    assert category_effect(a, b, 2) == pytest.approx(0.25)
    p, q = np.array([20.5, 10.5, 10.5]) / 41.5, np.array([10.5, 10.5, 20.5]) / 41.5
    assert category_stability(a, b, 2) == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert np.isnan(category_effect(a[:5], b, 2))
    assert np.isnan(category_stability(a[:0], b, 2))


def test_the_table_of_features_has_categories_by_name(panel):
    few = cut(panel, 40)
    weather = Covariate(
        "sky", "known", "category", np.tile([0.0, 1.0, np.nan, 0.0], 40), ("a", "b")
    )
    region = Covariate("region", "static", "category", np.zeros(len(few.values)), ("n",))
    holiday = Covariate("day", "known", "holiday", np.zeros(len(few.values)), ("",), "BR")
    few = replace(few, covariates=(weather, region, holiday))
    table = ft.tabulate_features(few, ft.compute_features(few), np.arange(4))
    assert list(table.columns[-2:]) == [ft.FEATURES[-1], "sky"]
    assert table["sky"].fillna("-").tolist() == ["a", "b", "-", "a"]


def test_stored_covariates_come_back_by_name(store):
    sent = {"price": 1.5, "promo": None, "weather": "hail"}
    rows = [
        forecast(days_before(4), covariates=None),
        forecast(days_before(3), covariates={"former": 1.0}),
        forecast(days_before(2), covariates=sent),
        forecast(days_before(1), covariates=sent | {"weather": None, "promo": 1.0}),
    ]
    write(store, rows)
    table = from_store(store, DAY - 20, DAY).features
    assert table[HAS_COVARIATES].tolist() == [False, False, True, True]
    assert list(table.columns[-3:]) == list(sent)
    assert table["weather"].fillna("-").tolist() == ["-", "-", "hail", "-"]
    np.testing.assert_array_equal(table["price"], [np.nan, np.nan, 1.5, 1.5])
    np.testing.assert_array_equal(table["promo"], [np.nan, np.nan, np.nan, 1.0])


def test_a_store_without_covariates_has_none(store):
    write(store, [forecast(days_before(2))])
    assert list(from_store(store, DAY - 20, DAY).features.columns[2:]) == list(ft.FEATURES)


def drifted(panel):
    table = feature_table(panel).assign(**covariates(panel))
    reference = build_reference(table[table["date"] < panel.dates[LIVE].astype("datetime64[s]")])
    live = feature_table(panel).assign(**covariates(panel, weather=(0.0, 0.4, 0.4, 0.2)))
    return reference, live, detect_drift(reference, live, last=panel.dates[LIVE + 30], checks=1)


def test_the_finding_says_what_has_moved(panel):
    *_, drift = drifted(panel)
    accuracy = Accuracy("", "", (), 0.0, {}, ())
    report = SimpleNamespace(accuracy=accuracy, drift=drift)
    [finding] = list_findings(cast("Report", report), 3)
    assert finding.key == "model drift"
    assert finding.detail.startswith("version 3: weather ('sun' on 0% of days, was ")
    assert "unknown: 'hail'" in finding.detail


def test_the_picture_of_a_category_has_a_bar_for_each_label(panel):
    reference, live, drift = drifted(panel)
    figure = plots.plot_drift_distributions(reference, live, drift, count=1)
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["fog", "rain", "sun", "unknown"]
    assert figure.axes[0].get_xlabel() == "weather"
    plt.close("all")
