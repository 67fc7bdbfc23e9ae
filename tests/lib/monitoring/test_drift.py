import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.data.calendar import weekday_of
from lib.features.engineering import FEATURES
from lib.files import to_json
from lib.monitoring import drift, drift_reference
from lib.monitoring.drift_statistics import effects_of, holm, population_stability
from lib.monitoring.results import consecutive_flags, first_detected
from tests.years import CHANGES, LIVE, cut, feature_table, year

VALUES = [drift_reference.LEVEL, *drift_reference.RELATIVE]
DAY = np.datetime64("2024-06-30")


@pytest.fixture(scope="module")
def panel():
    return year(0, series=4)


@pytest.fixture(scope="module")
def reference(panel):
    return drift_reference.build_reference(feature_table(cut(panel, LIVE)))


def by_name(found):
    return {feature.feature: feature for feature in found.features}


def test_psi_of_a_sample_and_itself_is_zero():
    sample = np.random.default_rng(0).normal(size=500)
    assert population_stability(sample, sample) == pytest.approx(0, abs=1e-12)


def test_psi_of_a_constant_and_an_occasional_event_sees_the_event():
    never, often = np.zeros(300), np.r_[np.zeros(150), np.ones(150)]
    assert population_stability(often, never) > 0.25
    assert population_stability(never, often) > 0.25


def test_effects_follow_the_definition():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=40), rng.normal(1, 2, size=60)
    both = np.r_[a, b]
    ks = max(abs((a <= x).mean() - (b <= x).mean()) for x in both)
    assert effects_of(a, b)[0] == pytest.approx(ks)


def test_effects_of_too_few_values_are_unknown():
    assert np.isnan(effects_of(np.ones(3), np.ones(50))).all()


@given(st.floats(1e-3, 1e3), st.integers(0, 9))
def test_effects_do_not_depend_on_units(factor, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(5, 1, 50), rng.normal(5, 2, 80)
    assert effects_of(factor * a, factor * b) == pytest.approx(effects_of(a, b), rel=1e-9)
    expected = population_stability(a, b)
    assert population_stability(factor * a, factor * b) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    adjusted = holm(np.array(p_values))
    rejected, alpha = set(), 0.05
    for step, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


def test_holm_leaves_out_what_was_not_tested():
    adjusted = holm(np.array([0.01, np.nan, 0.02]))
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(adjusted[1])


@settings(max_examples=5, deadline=None)
@given(st.floats(1e-2, 1e2))
def test_drift_of_values_in_another_unit_is_only_one_of_range(reference, panel, factor):
    live, day = feature_table(panel), panel.dates[LIVE + 40]
    scaled = live.assign(**{name: live[name] * factor for name in VALUES})
    before = by_name(drift.detect_drift(reference, live, last=day))
    after = by_name(drift.detect_drift(reference, scaled, last=day))
    for name in FEATURES:
        if name != drift_reference.LEVEL:
            assert after[name].score == pytest.approx(before[name].score, nan_ok=True)
            assert after[name].flags == before[name].flags
    outside = after[drift_reference.LEVEL].flags == ("range",)
    assert outside or 1 / 20 < factor < 20  # within that the series' own range decides


def test_drift_has_all_features_and_is_json(reference, panel):
    found = drift.detect_drift(reference, feature_table(panel), last=panel.dates[LIVE + 60])
    assert [f.feature for f in found.features] == list(FEATURES)
    assert found.matched
    assert found.judged
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


def test_drift_of_the_reference_itself_is_none(reference, panel):
    table = feature_table(cut(panel, LIVE))
    for day in panel.dates[400:LIVE:90]:
        assert not any(f.flags for f in drift.detect_drift(reference, table, last=day).features)


def test_drift_of_a_shifted_factor_is_found_in_the_factor_alone(reference, panel):
    live = feature_table(panel)
    live["fator_externo"] += 25
    found = drift.detect_drift(reference, live, last=panel.dates[LIVE + 60])
    assert [f.feature for f in found.features if f.flags] == ["fator_externo"]
    assert "distribution" in by_name(found)["fator_externo"].flags


def test_drift_is_none_for_a_model_that_was_judged_after_the_change():
    changed = LIVE + 40
    panel = year(0, "stronger week", changed, series=4)
    table, last = feature_table(panel), panel.dates[changed + 90]
    flagged = []
    for known in (changed, changed + 30):
        live = drift.detect_drift(
            drift_reference.build_reference(feature_table(cut(panel, known))), table, last=last
        )
        flagged.append([f.feature for f in live.features if f.flags])
    assert "lag_1" in flagged[0]
    assert flagged[1] == []


def test_drift_of_a_factor_that_stopped_coming_is_a_missing_one(reference, panel):
    live = feature_table(panel).assign(fator_externo=np.nan)
    found = by_name(drift.detect_drift(reference, live, last=panel.dates[LIVE + 60]))[
        "fator_externo"
    ]
    assert found.flags == ("missing",)
    assert found.missing == 1


def test_drift_of_weekdays_written_as_numbers_is_one_of_range(reference, panel):
    live = feature_table(panel)
    live["dia_semana_sin"] = (panel.dates.astype(np.int64) + 3) % 7
    found = by_name(drift.detect_drift(reference, live, last=panel.dates[LIVE + 60]))
    assert found["dia_semana_sin"].flags == ("range",)


def test_drift_alarms_when_it_lasts_and_not_when_asked_again(reference, panel):
    live = feature_table(panel).assign(fator_externo=99.0)
    days = panel.dates[LIVE + 60 : LIVE + 63]
    first = drift.detect_drift(reference, live, last=days[0])
    again = drift.detect_drift(reference, live, last=days[0], previous=first)
    second = drift.detect_drift(reference, live, last=days[1], previous=again.to_json())
    third = drift.detect_drift(reference, live, last=days[2], previous=second)
    found = (first, again, second, third)
    assert [x.consecutive_flags["fator_externo"] for x in found] == [1, 1, 2, 3]
    assert [x.alarm for x in (first, again, second, third)] == [False, False, False, True]


def test_drift_against_a_short_reference_judges_no_distribution(panel):
    short = drift_reference.build_reference(feature_table(cut(panel, 90)))
    found = drift.detect_drift(short, feature_table(panel), last=panel.dates[LIVE + 60])
    assert not found.judged
    assert not any("distribution" in f.flags for f in found.features)


def test_drift_without_live_days_flags_nothing(reference, panel):
    found = drift.detect_drift(reference, feature_table(panel), last=panel.dates[-1] + 400)
    assert not found.judged
    assert not any(f.flags for f in found.features)


def test_drift_of_rows_without_a_series_is_judged(reference, panel):
    live = feature_table(panel).drop(columns="series_id")
    assert drift.detect_drift(reference, live, last=panel.dates[LIVE + 60]).judged


def test_drift_names_columns_that_are_missing(reference, panel):
    with pytest.raises(ValueError, match="lag_1"):
        drift.detect_drift(reference, feature_table(panel).drop(columns="lag_1"), last=DAY)
    with pytest.raises(ValueError, match="series_id"):
        drift_reference.build_reference(pd.DataFrame({"date": []}))


def test_drift_of_a_healthy_quarter_is_silent_and_of_a_change_is_not(reference, panel):
    """The fast half of the measurement; the whole years are in test_monitoring_years."""
    assert first_alarm(reference, panel, LIVE + 150, 90) is None
    for change in ("level up", "level down", "stronger week"):
        assert change in CHANGES
        found = first_alarm(reference, year(0, change, series=4), LIVE + 150, 30)
        assert found is not None
        assert found <= 21


def first_alarm(reference, panel, start, days):
    """Days from `start` to the first alarm of daily checks."""
    live, previous = feature_table(panel), None
    for i in range(days):
        previous = drift.detect_drift(
            reference, live, last=panel.dates[start + i], previous=previous
        )
        if previous.alarm:
            return i
    return None


def test_streaks_end_when_a_check_finds_nothing():
    before = {"last": "2024-01-01", "streaks": {"a": 2, "b": 5}}
    assert consecutive_flags(["a"], "2024-01-02", before) == {"a": 3}
    assert consecutive_flags([], "2024-01-02", before) == {}
    assert consecutive_flags(["a"], "2024-01-02", None) == {"a": 1}


def test_to_json_of_numpy_and_not_finite():
    found = to_json({"a": np.float64(np.nan), "b": (np.int64(2), DAY)})
    assert found == {"a": None, "b": [2, "2024-06-30"]}


def test_began_is_kept_while_any_of_it_lasts():
    before = {"since": "2024-01-05", "streaks": {"a": 2, "b": 1}}
    assert first_detected(["2024-01-09"], {"a": 3}, before) == "2024-01-05"
    assert first_detected(["2024-01-03", "2024-01-04"], {"a": 3}, before) == "2024-01-03"
    assert first_detected(["2024-01-09"], {"c": 1}, before) == "2024-01-09"
    assert first_detected(["2024-01-09"], {"a": 3}, {"streaks": {"a": 2}}) == "2024-01-09"
    assert first_detected([], {}, before) == ""


SERVED_PARTS = {
    "early in the week": lambda live: live[weekday_of(live["date"].to_numpy()) < 2],
    "on workdays": lambda live: live[weekday_of(live["date"].to_numpy()) < 5],
    "on workdays and once on a Sunday": lambda live: live[
        (weekday_of(live["date"].to_numpy()) < 5) | (live["date"] == live["date"].max())
    ],
    "of one series": lambda live: live[live["series_id"] == live["series_id"].iloc[-1]],
}


@pytest.mark.parametrize("select", SERVED_PARTS.values(), ids=SERVED_PARTS)
def test_drift_of_a_part_is_measured_against_that_part(reference, panel, select):
    days = panel.dates[LIVE + 40 : LIVE + 364 : 9]
    table, found = feature_table(panel), None
    for day in days:
        live = select(table[table["date"] <= np.datetime64(day, "s")])
        found = drift.detect_drift(reference, live, last=day, previous=found)
        assert found.judged
        assert not found.alarms
    live = live.assign(fator_externo=live["fator_externo"] + 25)
    moved = by_name(drift.detect_drift(reference, live, last=days[-1]))["fator_externo"]
    assert "distribution" in moved.flags


def test_drift_of_series_that_the_reference_does_not_know_is_measured_against_all(reference, panel):
    live = feature_table(panel)
    new = live.assign(series_id=live["series_id"].replace(panel.ids[0], "new"))
    assert drift_reference.part_of(reference, new)[0] is reference


def test_drift_of_a_covariate_is_found_by_its_name_and_of_no_other(panel):
    rng = np.random.default_rng(0)
    table = feature_table(panel)
    prices = {"price": rng.normal(10, 1, len(table)), "visits": rng.normal(50, 5, len(table))}
    table = table.assign(**prices, label="a word")
    day, past = panel.dates[LIVE + 60], table["date"] < pd.Timestamp(str(panel.dates[LIVE]))
    reference = drift_reference.build_reference(table[past])
    assert reference.covariates == ("price", "visits", "label")
    before = by_name(drift.detect_drift(reference, table, last=day))
    assert list(before) == [*FEATURES, "price", "visits", "label"]
    assert not before["price"].flags
    dearer = table.assign(price=table["price"] + 4 * ~past)
    after = by_name(drift.detect_drift(reference, dearer, last=day))
    assert "distribution" in after["price"].flags
    assert after["visits"].flags == before["visits"].flags == ()
    gone = by_name(drift.detect_drift(reference, table.assign(price=np.nan), last=day))
    assert gone["price"].flags == ("missing",)
    without = drift.detect_drift(reference, table[["series_id", "date", *FEATURES]], last=day)
    assert [f.feature for f in without.features] == list(FEATURES)
