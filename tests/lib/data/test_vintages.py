"""What was known of covariates at a cutoff: tables with `known_at`, read, checked and applied."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import structlog

from lib.data import (
    SeriesError,
    as_known_at,
    load,
    load_vintages,
    read_vintages,
    to_panel,
    validate,
)

DAYS = pd.date_range("2024-01-01", periods=80)
COVARIATES: dict[str, Any] = {
    "covariates": ["temp", "promo", "kind"],
    "past_covariates": ["visits"],
}


def shops(names=("north", "south")):
    rng = np.random.default_rng(3)
    parts = [
        pd.DataFrame(
            {
                "date": DAYS,
                "series_id": name,
                "value": rng.normal(50, 5, 80),
                "temp": rng.normal(15, 3, 80).round(2),
                "promo": rng.integers(0, 2, 80),
                "kind": rng.choice(["dry", "rain", "snow"], 80),
                "visits": rng.normal(9, 1, 80),
            }
        )
        for name in names
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def table():
    return validate(shops(), **COVARIATES)


def plans(*rows, columns=("date", "known_at", "temp")):
    return pd.DataFrame(rows, columns=list(columns))


def temp_at(table, frame, cutoff, series=0):
    panel = to_panel(table)
    seen = as_known_at(panel, read_vintages(frame, {}, table), np.datetime64(cutoff))
    column = next(c for c in seen.covariates if c.name == "temp")
    rows = panel.series(series)
    return pd.Series(column.values[rows], DAYS)


def test_a_cutoff_sees_the_latest_row_that_was_known_by_its_end(table):
    frame = plans(
        ("2024-03-01", "2024-02-20", 1.0),
        ("2024-03-01", "2024-02-25T23:59", 3.0),
        ("2024-03-01", "2024-02-25T06:00", 2.0),
        ("2024-03-01", "2024-02-26", 4.0),
    )
    cutoffs = ["2024-02-19", "2024-02-24", "2024-02-25", "2024-02-29"]
    seen = [temp_at(table, frame, cutoff)["2024-03-01"] for cutoff in cutoffs]
    np.testing.assert_array_equal(seen, [np.nan, 1.0, 3.0, 4.0])


def test_days_up_to_the_cutoff_and_other_covariates_stay(table):
    panel = to_panel(table)
    frame = plans(("2024-02-10", "2024-02-01", -9.0), ("2024-03-01", "2024-02-01", -9.0))
    cutoff = np.datetime64("2024-02-20")
    seen = as_known_at(panel, read_vintages(frame, {}, table), cutoff)
    past = panel.dates <= cutoff
    for before, after in zip(panel.covariates, seen.covariates, strict=True):
        np.testing.assert_array_equal(before.values[past], after.values[past])
        if before.name != "temp":
            np.testing.assert_array_equal(before.values, after.values)
    assert temp_at(table, frame, "2024-02-20")["2024-02-21":].notna().sum() == 1


def test_vintages_are_those_of_a_loop(table):
    rng = np.random.default_rng(1)
    size = 900
    frame = pd.DataFrame(
        {
            "date": rng.choice(DAYS, size),
            "series_id": rng.choice(["north", "south"], size),
            "known_at": rng.choice(DAYS, size),
            "temp": np.where(rng.random(size) < 0.3, np.nan, rng.normal(0, 9, size).round(3)),
            "kind": rng.choice(["dry", "snow", ""], size),
            "promo": rng.choice([0.0, 1.0, 0.5, np.nan], size),
        }
    )
    frame = frame[frame["known_at"] <= frame["date"]]
    frame = frame.drop_duplicates(["date", "series_id", "known_at"])
    vintages, panel = read_vintages(frame, {}, table), to_panel(table)
    names = np.repeat(panel.ids, np.diff(panel.offsets))
    for cutoff in (np.datetime64("2024-01-20"), np.datetime64("2024-02-11")):
        seen = {c.name: c for c in as_known_at(panel, vintages, cutoff).covariates}
        for row in range(len(panel.values)):
            day, name = panel.dates[row], names[row]
            if day <= cutoff:
                continue
            known = frame[
                (frame["date"] == pd.Timestamp(day))
                & (frame["series_id"] == name)
                & (frame["known_at"] <= pd.Timestamp(cutoff))
            ].sort_values("known_at")
            for column in ("temp", "promo", "kind"):
                cells = known[column].replace("", None).dropna().tolist()
                value = seen[column].values[row]
                if not cells:
                    assert np.isnan(value)
                elif column == "kind":
                    assert seen[column].labels[int(value)] == cells[-1]
                else:
                    assert value == cells[-1]


def test_rows_without_a_series_are_meant_for_every_series(table):
    frame = plans(("2024-03-01", "2024-02-20", 1.0))
    for series in (0, 1):
        assert temp_at(table, frame, "2024-02-20", series)["2024-03-01"] == 1.0
    north = frame.assign(series_id="north")
    assert temp_at(table, north, "2024-02-20", 0)["2024-03-01"] == 1.0
    assert np.isnan(temp_at(table, north, "2024-02-20", 1)["2024-03-01"])


def test_blanks_mean_none_as_in_the_history_and_by_what_was_known(table):
    marked = shops().assign(
        promo=lambda t: t["promo"].where(t["promo"] == 1),
        kind=lambda t: t["kind"].where(t.index % 3 == 0),
    )
    table = validate(marked, **COVARIATES)
    frame = plans(
        ("2024-03-01", "2024-02-01", 1, "rain"),
        ("2024-03-02", "2024-02-01", None, None),
        ("2024-03-01", "2024-02-10", None, None),  # taken back
        ("2024-03-03", "2024-02-20", 0, "dry"),
        columns=("date", "known_at", "promo", "kind"),
    )
    panel, vintages = to_panel(table), read_vintages(frame, {}, table)

    def seen(cutoff, day):
        columns = {c.name: c for c in as_known_at(panel, vintages, cutoff).covariates}
        row = int(np.flatnonzero(panel.dates == np.datetime64(day))[0])
        promo, kind = columns["promo"].values[row], columns["kind"]
        return promo, None if np.isnan(kind.values[row]) else kind.labels[int(kind.values[row])]

    first, second = np.datetime64("2024-02-05"), np.datetime64("2024-02-15")
    assert seen(first, "2024-03-01") == (1.0, "rain")
    assert seen(first, "2024-03-02") == (0.0, "")
    assert seen(second, "2024-03-01") == (0.0, "")
    assert seen(second, "2024-03-03")[1] is None
    # that a 0 comes later says nothing about what a blank meant before
    changed = read_vintages(frame.iloc[:3], {}, table)
    again = as_known_at(panel, changed, second).covariates
    for before, after in zip(as_known_at(panel, vintages, second).covariates, again, strict=True):
        np.testing.assert_array_equal(before.values, after.values)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (plans(("2024-03-01", 1.0), columns=("date", "temp")), "no column 'known_at'.*Add it"),
        (
            plans(("2024-03-01", "2024-02-01", 1.0), columns=("date", "knownat", "temp")),
            "no column 'known_at', but 'knownat'.*Rename 'knownat' to 'known_at'",
        ),
        (
            plans(("2024-03-01", "2024-02-01", 1.0), columns=("date", "known_at", "tmep")),
            "'tmep' is no covariate that is known.*'temp', 'promo', 'kind'.*mean 'temp'",
        ),
        (
            plans(
                ("2024-03-01", "2024-02-01", 1, 2), columns=("date", "known_at", "temp", "visits")
            ),
            "'visits' is no covariate that is known for the days ahead",
        ),
        (plans(("2024-03-01", "2024-02-01"), columns=("date", "known_at")), "expected the day"),
        (
            plans(("2024-03-01", "2024-02-01", 1.0), ("2024-03-02", None, 1.0)),
            "column 'known_at', row 1.*the date is blank",
        ),
        (
            plans(("2024-03-01", "2024-02-01", 1.0), ("2024-03-02", "before", 1.0)),
            "column 'known_at', row 1.*'before' is no date",
        ),
        (
            plans(("2024-02-01", "2024-03-01", 1.0), ("2024-02-02", "2024-03-01", 1.0)),
            r"column 'known_at', row 0.*2024-02-01 became known on 2024-03-01.*\(2 rows.*exchanged",
        ),
        (
            plans(
                ("2024-03-01", "2024-02-01", 1.0),
                ("2024-03-02", "2024-02-01", 1.0),
                ("2024-03-01", "2024-02-01", 2.0),
            ),
            "column 'temp', row 2.*2024-03-01 has another value, known at the same time",
        ),
        (
            plans(
                ("2024-03-01", "2024-02-01", 1.0, "west"),
                columns=("date", "known_at", "temp", "series_id"),
            ),
            "its rows are of 'west', of which the history has none",
        ),
        (
            plans(("2024-03-01", "2024-02-01", "warm")),
            "column 'temp', row 0.*got 'warm'",
        ),
        (
            plans(("2024-03-01", "2024-02-01", 3), columns=("date", "known_at", "promo")),
            "column 'promo', row 0.*got 3",
        ),
    ],
)
def test_wrong_tables_are_refused_with_column_row_and_remedy(table, frame, message):
    with pytest.raises(SeriesError, match=message):
        read_vintages(frame, {}, table)


def test_rows_that_say_the_same_or_of_other_covariates_are_no_contradiction(table):
    frame = plans(
        ("2024-03-01", "2024-02-01", 1.0, None),
        ("2024-03-01", "2024-02-01", 1.0, None),
        ("2024-03-01", "2024-02-01", None, "dry"),
        columns=("date", "known_at", "temp", "kind"),
    )
    assert temp_at(table, frame, "2024-02-02")["2024-03-01"] == 1.0


def test_what_is_unusual_but_usable_is_logged(table):
    frame = plans(
        ("2024-03-01", "2024-02-01", 1.0, "hail", "north"),
        ("2024-03-02", "2024-03-05", 1.0, "dry", "north"),
        ("2024-03-03", "2024-03-03", 1.0, "dry", "north"),
        ("2024-03-03", "2024-02-01", 1.0, "dry", "west"),
        columns=("date", "known_at", "temp", "kind", "series_id"),
    )
    with structlog.testing.capture_logs() as logs:
        vintages = read_vintages(frame, {}, table)
    assert len(vintages) == 3
    said = {log["event"]: log for log in logs}
    assert said["plans_known_after_their_day"]["row"] == "row 1 (the first is 0)"
    assert said["plan_of_unknown_category"]["category"] == "hail"
    assert "'west'" in said["plans_of_other_series"]["detail"]


def test_a_file_is_read_as_the_history_is(tmp_path):
    names: dict[str, Any] = {"date_column": "day", "series_column": "shop", "event_column": "sale"}
    text = "day;shop;units;sale;heat\n" + "".join(
        f"{day:%d/%m/%Y};south;{i % 7};{i % 2};{i % 9},5\n" for i, day in enumerate(DAYS)
    )
    (tmp_path / "sales.csv").write_text(text)
    table = load(tmp_path / "sales.csv", value_column="units", covariates=["heat"], **names)
    (tmp_path / "plans.csv").write_text(
        "known_at;day;shop;sale;heat\n14/02/2024;21/02/2024;south;yes;7,25\n"
    )
    vintages = load_vintages(tmp_path / "plans.csv", table, **names)
    assert vintages.attrs == {
        "source": "plans.csv",
        "names": {"evento_especial": "sale", "known:number:heat": "heat"},
    }
    vintages.to_parquet(tmp_path / "vintages.parquet")
    again = pd.read_parquet(tmp_path / "vintages.parquet")
    assert again.attrs == vintages.attrs
    seen = as_known_at(to_panel(table), again, np.datetime64("2024-02-20"))
    assert seen.event[51] == 1
    assert seen.covariates[0].values[51] == 7.25
    assert np.isnan(seen.event[52:]).all()
    (tmp_path / "plans.csv").write_text("known_at;day;heat\n14/02/2024;21/02/2024;hot\n")
    with pytest.raises(SeriesError, match=r"FUTURE, plans.csv, column 'heat', line 2: got 'hot'"):
        load_vintages(tmp_path / "plans.csv", table, **names)
