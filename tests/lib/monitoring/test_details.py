"""What people look at after the verdict: series, groups, stability, anomalies."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from lib.monitoring import job
from lib.monitoring.anomalies import find_anomalies
from lib.monitoring.by_series import (
    GroupsError,
    draw_history,
    load_groups,
    score_groups,
    score_series,
)
from lib.monitoring.stability import measure_stability
from lib.storage.database import Store, utcnow
from lib.storage.tables import actuals, predictions
from serving.records.checks import read_last_check
from tests.lib.monitoring.served_days import settings_of, write_forecasts
from tests.lib.monitoring.test_report import DAY, actual_row, days_before, forecast, single, write

FIRST, LAST = np.datetime64("2026-03-01"), np.datetime64("2026-03-28")
NAMES = ("calm", "off", "wild")


@pytest.fixture
def table():
    """Forecasts of three series from each evening, three days ahead."""
    rng, rows = np.random.default_rng(0), []
    spread = dict(zip(NAMES, (1.0, 5.0, 20.0), strict=True))
    for name in NAMES:
        for day in np.arange(FIRST, LAST + 1):
            actual = 100 + rng.normal()
            for horizon in (1, 2, 3):
                middle = actual + spread[name] * rng.normal()
                rows.append((name, day, horizon, 1, middle - 8, middle, middle + 8, actual, 2.0))
    columns = ["series_id", "date", "horizon", "model_version", "q0.1", "q0.5", "q0.9", "actual"]
    frame = pd.DataFrame(rows, columns=[*columns, "scale"])
    return frame.astype({"date": "datetime64[s]", "series_id": "category"})


def test_worst_series_come_first_with_the_scores_of_a_plain_loop(table):
    scores = score_series(table, FIRST, LAST)
    assert [one.name for one in scores] == ["wild", "off", "calm"]
    for one in scores:
        rows = table[table["series_id"] == one.name]
        error = rows["q0.5"] - rows["actual"]
        inside = (rows["actual"] >= rows["q0.1"]) & (rows["actual"] <= rows["q0.9"])
        assert one.forecasts == len(rows) == 84
        assert one.mae == pytest.approx(error.abs().mean())
        assert one.mase == pytest.approx((error.abs() / 2).mean())
        assert one.wape == pytest.approx(100 * error.abs().sum() / rows["actual"].abs().sum())
        assert one.bias == pytest.approx(error.mean())
        assert one.coverage == pytest.approx(inside.mean())
    assert len(score_series(table, FIRST, LAST, most=1)) == 1
    assert score_series(table.assign(actual=np.nan), FIRST, LAST) == ()


def test_groups_are_scored_by_each_column_and_unknown_series_left_out(table):
    groups = pd.DataFrame(
        {"series_id": ["calm", "wild"], "region": ["north", "north"], "size": ["s", "l"]}
    )
    scores = {one.name: one for one in score_groups(table, groups, FIRST, LAST)}
    assert set(scores) == {"region: north", "size: s", "size: l"}
    assert scores["region: north"].series == 2
    assert scores["region: north"].forecasts == 168
    assert scores["size: l"].mae == score_series(table, FIRST, LAST)[0].mae
    assert score_groups(table, None, FIRST, LAST) == ()


def test_groups_are_read_from_a_file_and_a_wrong_one_is_named(tmp_path):
    assert load_groups("") is None
    file = tmp_path / "groups.csv"
    file.write_text("series_id,region\n1,north\n2,south\n1,west\n")
    groups = load_groups(str(file))
    assert groups is not None
    assert groups.to_dict("list") == {"series_id": ["2", "1"], "region": ["south", "west"]}
    groups.to_parquet(tmp_path / "groups.parquet")
    assert load_groups(str(tmp_path / "groups.parquet")) is not None
    file.write_text("shop\n1\n")
    with pytest.raises(GroupsError, match="expected series_id and one column"):
        load_groups(str(file))
    with pytest.raises(GroupsError, match="cannot be read"):
        load_groups(str(tmp_path / "missing.csv"))


def test_stability_equals_a_plain_loop(table):
    table = table.sample(frac=1, random_state=0)
    found = measure_stability(table, FIRST, LAST)
    moves, levels, beside = [], [], {}
    for (name, day), rows in table.groupby(["series_id", "date"], observed=True):
        medians = rows.sort_values("horizon", ascending=False)["q0.5"].tolist()
        for before, after in pairwise(medians):
            moves.append(after - before)
            levels.append(abs(after))
            beside[abs(after - before) / 16] = (name, str(day.date()))
    assert found.revisions == len(moves) == 3 * 28 * 2
    assert found.moved == pytest.approx(100 * np.abs(moves).sum() / sum(levels))
    assert found.bias == pytest.approx(100 * sum(moves) / sum(levels))
    assert found.largest == pytest.approx(max(beside))
    assert (found.largest_series, found.largest_day) == beside[max(beside)]


def test_stability_without_revisions_is_unknown(table):
    found = measure_stability(table[table["horizon"] == 1], FIRST, LAST)
    assert found.revisions == 0
    assert found.to_json()["moved"] is None


def outside(table, name, days):
    """Move the actuals of the last days of a series beyond every interval."""
    late = (table["series_id"] == name) & (table["date"] > pd.Timestamp(str(LAST - days)))
    return table.assign(actual=table["actual"].mask(late, 500.0))


def test_anomalies_are_single_or_persistent(table):
    calm = table[table["series_id"] == "calm"]
    assert find_anomalies(calm, LAST) == ()
    moved = outside(outside(outside(table, "calm", 1), "off", 4), "wild", 2)
    found = {one.series_id: one for one in find_anomalies(moved, LAST)}
    assert {name: (one.days, one.persistent) for name, one in found.items()} == {
        "off": (4, True),
        "calm": (1, False),
        "wild": (2, False),
    }
    assert next(iter(found)) == "off"
    assert {one.side for one in found.values()} == {"above"}
    newest = moved[(moved["series_id"] == "calm") & (moved["horizon"] == 1)].iloc[-1]
    assert (found["calm"].lower, found["calm"].upper) == (newest["q0.1"], newest["q0.9"])


def test_anomaly_after_a_gap_or_on_the_other_side_begins_anew(table):
    moved = outside(table, "off", 4)
    gap = moved[~((moved["series_id"] == "off") & (moved["date"] == pd.Timestamp(str(LAST - 1))))]
    assert [one.days for one in find_anomalies(gap, LAST) if one.series_id == "off"] == [1]
    day_before = (moved["series_id"] == "off") & (moved["date"] == pd.Timestamp(str(LAST - 1)))
    low = moved.assign(actual=moved["actual"].mask(day_before, -500.0))
    assert [one.days for one in find_anomalies(low, LAST) if one.series_id == "off"] == [1]


def test_history_draws_the_last_forecast_of_each_day(table):
    drawn = draw_history(table, ["wild", "unknown"], LAST)
    assert drawn["unknown"] == []
    assert [row["date"] for row in drawn["wild"]] == [str(d) for d in np.arange(FIRST, LAST + 1)]
    nearest = table[(table["series_id"] == "wild") & (table["horizon"] == 1)]
    assert [row["median"] for row in drawn["wild"]] == nearest["q0.5"].tolist()
    json.dumps(drawn, allow_nan=False)


def test_check_shows_them_and_goes_on_without_groups_that_cannot_be_read(tmp_path, monkeypatch):
    settings = settings_of(tmp_path, monkeypatch)
    store = Store.of(settings)
    write_forecasts(store, error=0.5)
    odd = [forecast(days_before(n), "odd", days=1, features=None) for n in range(30)]
    truth = [actual_row(100.0 + n % 3 if n else 300.0, days_before(n), "odd") for n in range(60)]
    write(store, odd, truth)
    (tmp_path / "groups.csv").write_text("series_id,region\na,north\nb,south\nodd,south\n")
    grouped = settings.model_copy(update={"monitor_groups": str(tmp_path / "groups.csv")})
    job.run_check(grouped, store, day=DAY)
    found = read_last_check(tmp_path, store)["findings"]
    assert found["worst_series"][0]["name"] == "odd"
    assert found["worst_series"][0]["history"][-1]["actual"] == 300
    assert {one["name"] for one in found["groups"]} == {"region: north", "region: south"}
    assert [one["series_id"] for one in found["anomalies"]] == ["odd"]
    assert found["stability"]["revisions"] == 0
    wrong = settings.model_copy(update={"monitor_groups": "nowhere.csv"})
    assert job.run_check(wrong, store, day=DAY).groups == ()
    store.close()


def test_forecasts_without_a_series_are_no_series(tmp_path, monkeypatch):
    settings = settings_of(tmp_path, monkeypatch)
    store = Store.of(settings)
    write_forecasts(store, error=0.5)
    made = [single(f"t{n}", days_before(1), value=100.0 + n) for n in range(5)]
    at = {"created_at": utcnow(), "updated_at": utcnow(), "value": 900.0}
    truth = [{"key": f"trace t{n}", "trace_id": f"t{n}"} | at for n in range(5)]
    with store.writing() as connection:
        connection.execute(predictions.insert(), made)
        connection.execute(actuals.insert(), truth)
    report = job.run_check(settings, store, day=DAY)
    assert {one.name for one in report.worst_series} == {"a", "b"}
    assert report.stability is not None
    assert (report.stability.revisions, report.anomalies) == (0, ())
    assert report.evidence.forecasts == 2 * 21 + 5
    store.close()
