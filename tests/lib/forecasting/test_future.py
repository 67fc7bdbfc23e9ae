"""The coming days of a table: what is planned, what is missing, what is appended."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib import Forecaster
from lib.data import SeriesError, read_planned, split_planned, validate
from lib.forecasting import forecast_file
from lib.forecasting.future import append_horizon, update_planned


def canonical(values, factor=None, event=None, name="a"):
    days = pd.date_range("2024-01-01", periods=len(values))
    frame = pd.DataFrame({"series_id": name, "date": days, "value": values})
    frame["fator_externo"] = np.nan if factor is None else factor
    frame["evento_especial"] = np.nan if event is None else event
    return validate(frame, min_days=1)


def test_rows_behind_the_last_value_with_a_covariate_are_planned():
    history, planned = split_planned(canonical([1, 2, np.nan, np.nan], factor=[5, 6, 7, np.nan]))
    assert history["value"].tolist() == [1, 2]
    assert planned["date"].dt.day.tolist() == [3, 4]
    assert planned["fator_externo"].fillna(-1).tolist() == [7, -1]


def test_blank_rows_behind_the_last_value_are_missing_values():
    history, planned = split_planned(canonical([1, 2, np.nan, np.nan]))
    assert len(history) == 4
    assert planned.empty


def test_missing_values_inside_the_history_stay():
    history, planned = split_planned(canonical([1, np.nan, 3], factor=[1, 2, 3]))
    assert len(history) == 3
    assert planned.empty


def test_horizon_is_appended_to_each_series_with_its_plans():
    table = pd.concat([canonical([1, 2, 3], name="a"), canonical([1, 2], name="b")])
    history, planned = split_planned(table)
    plans = read_planned(
        pd.DataFrame({"date": ["2024-01-03"], "evento_especial": [1.0]}), {}, history
    )
    extended = append_horizon(history, update_planned(planned, plans), horizon=2)
    b = extended[extended["series_id"] == "b"]
    assert b["date"].dt.day.tolist() == [1, 2, 3, 4]
    assert b["evento_especial"].tolist()[2] == 1
    assert b["value"].isna().tolist() == [False, False, True, True]
    assert len(extended) == 5 + 4


def test_holidays_mark_the_coming_days_too():
    days = pd.date_range("2024-12-20", periods=5)
    table = validate(pd.DataFrame({"date": days, "value": 1.0}), min_days=1)
    history, planned = split_planned(table)
    extended = append_horizon(history, planned, horizon=2, country="BR")
    assert extended.set_index("date")["evento_especial"]["2024-12-25"] == 1


def test_newer_plans_win_and_older_ones_fill():
    older = pd.DataFrame({"date": ["2024-01-03"], "f": [1.0], "e": [0.5]})
    newer = pd.DataFrame({"date": ["2024-01-03"], "f": [2.0]})
    names = {"fator_externo": "f", "evento_especial": "e"}
    merged = update_planned(
        read_planned(older, names, canonical([1.0])), read_planned(newer, names, canonical([1.0]))
    )
    assert merged["fator_externo"].tolist() == [2.0]
    assert merged["evento_especial"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"day": ["2024-01-03"], "x": [1]}, "expected the day, 'date', and 'f' or 'e'"),
        ({"date": ["soon"], "f": [1]}, "'soon' is no date; expected a day"),
        ({"date": ["2024-01-03"], "f": ["warm"]}, "got 'warm'; expected a number"),
        ({"date": ["2024-01-03"], "e": [3]}, r"got 3.0; expected 0"),
        ({"date": ["2024-01-03"] * 2, "f": [1, 2]}, "is there twice"),
    ],
)
def test_wrong_plans_are_refused(frame, message):
    names = {"fator_externo": "f", "evento_especial": "e"}
    with pytest.raises(SeriesError, match=message):
        read_planned(pd.DataFrame(frame), names, canonical([1.0]))


def test_only_names_that_the_user_has_given_are_expected():
    with pytest.raises(SeriesError) as caught:
        read_planned(
            pd.DataFrame({"when": ["2024-01-03"], "g": [1]}), {"date": "d"}, canonical([1])
        )
    assert "fator_externo" not in str(caught.value)
    assert "evento_especial" not in str(caught.value)


def write_history(folder):
    days = pd.date_range("2024-01-01", periods=80)
    rows = pd.DataFrame(
        {"day": days, "units": np.arange(80) % 7 + 10, "temp": np.arange(80) % 9 / 4}
    )
    rows.to_csv(folder / "sales.csv", index=False)
    return folder / "sales.csv"


def forecast_with(folder, text):
    (folder / "planned.csv").write_text(text)
    return forecast_file(
        write_history(folder),
        folder / "next.csv",
        horizon=7,
        effort="instant",
        future=folder / "planned.csv",
        reading={"date_column": "day", "value_column": "units", "covariates": ["temp"]},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "day,temp\n2024-03-21,0.5\n2024-03-22,abc\n",
            r"FUTURE, planned.csv, column 'temp', line 3: got 'abc'",
        ),
        (
            "Day,temp\n2024-03-21,1\n",
            r"FUTURE, planned.csv: .*\['Day', 'temp'\].* 'day', and 'temp'",
        ),
        ("day,t\n2024-03-21,1\n", r"FUTURE, planned.csv: .*\['day', 't'\]"),
        ("when\n2024-03-21\n", r"planned.csv.*the columns are \['when'\]"),
        (
            "day,temp\n2024-03-21,1\n2024-03-21,2\n",
            r"FUTURE, planned.csv: 2024-03-21 is there twice",
        ),
    ],
)
def test_a_file_of_plans_is_refused_by_name_and_line(tmp_path, text, message):
    with pytest.raises(SeriesError, match=message):
        forecast_with(tmp_path, text)


def write_prices(folder):
    days = pd.date_range("2024-01-01", periods=80)
    table = pd.DataFrame({"day": days, "shop": "north", "units": np.arange(80) % 7 + 10})
    table = table.assign(promotion=np.arange(80) % 5 == 0, price=np.arange(80) % 9 / 4)
    table.to_csv(folder / "sales.csv", index=False)
    return folder / "sales.csv"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_misspelt_column_of_a_file_of_plans_is_refused_with_the_near_one(tmp_path, kind):
    planned = pd.DataFrame({"day": ["2024-03-21"], "promotoin": [True], "price": [1.0]})
    if kind == "csv":
        planned.to_csv(tmp_path / "planned.csv", index=False)
    else:
        planned.to_parquet(tmp_path / "planned.parquet", index=False)
    message = rf"FUTURE, planned.{kind}.* no column 'promotion', but 'promotoin'.*Rename"
    with pytest.raises(SeriesError, match=message):
        forecast_file(
            write_prices(tmp_path),
            tmp_path / "next.csv",
            horizon=7,
            effort="instant",
            future=tmp_path / f"planned.{kind}",
            reading={
                "date_column": "day",
                "value_column": "units",
                "covariates": ["promotion", "price"],
            },
        )


@pytest.fixture(scope="module")
def promotions(tmp_path_factory):
    table = pd.read_csv(write_prices(tmp_path_factory.mktemp("prices")))
    return table, Forecaster(horizon=7).fit(
        table, "day", "units", "shop", effort="instant", covariates=["promotion", "price"]
    )


def test_a_misspelt_column_is_refused_wherever_a_table_of_plans_comes_in(promotions):
    _, model = promotions
    planned = pd.DataFrame({"day": ["2024-03-21"], "Promotions": [True], "price": [1.0]})
    for call in (
        lambda: model.predict(planned),
        lambda: model.totals([7], future=planned),
        lambda: model.order(7, service_level=0.9, future=planned),
        lambda: model.scenarios({"more": planned}, [7]),
        lambda: model.explain(future=planned),
    ):
        with pytest.raises(SeriesError, match="no column 'promotion', but 'Promotions'"):
            call()


@pytest.mark.parametrize("other", ["promotions_2025", "promotion_tv", "motion", 0])
def test_a_column_of_something_else_is_no_misspelt_one(promotions, other):
    table, model = promotions
    planned = pd.DataFrame({"day": ["2024-03-21"], other: ["?"], "price": [1.0]})
    model.predict(planned)
    assert any(note.startswith("promotion is not known") for note in model.notes)
    model.update(table.rename(columns={"promotion": other}))
    model.update(table)
    model.predict(pd.DataFrame({"day": ["2024-03-21"], "promotion": [True]}))
    assert "promotion is known for 1 of the 7 days ahead" in model.notes


def test_a_misspelt_column_of_a_newer_history_is_refused(promotions):
    table, model = promotions
    newer = table.rename(columns={"promotion": "promotoin"})
    with pytest.raises(SeriesError, match="no column 'promotion', but 'promotoin'"):
        model.update(newer)
    with pytest.raises(SeriesError, match="no column 'promotion', but 'promotoin'"):
        model.backtest(newer, cutoffs=1)


def test_a_misspelt_series_column_does_not_mean_every_series(promotions):
    _, model = promotions
    for name in ("shops", "shop_1"):
        planned = pd.DataFrame({"day": ["2024-03-21"], name: ["north"], "price": [1.0]})
        with pytest.raises(SeriesError, match=f"no column 'shop', but '{name}'"):
            model.predict(planned)


def test_plans_of_series_that_are_not_known_are_named(promotions):
    _, model = promotions
    planned = pd.DataFrame({"day": ["2024-03-21"], "shop": ["007"], "price": [1.0]})
    with pytest.raises(
        SeriesError, match=r"its rows are of '007'.*history: 'north'.*leading zeros"
    ):
        model.predict(planned)
    model.predict(pd.concat([planned, planned.assign(shop="north")]))
    assert any("does not know: '007'" in note for note in model.notes)


def test_a_category_of_a_plan_that_was_not_learned_is_named(promotions):
    table, _ = promotions
    named = table.assign(promotion=np.where(table["promotion"], "2x1", "none"))
    model = Forecaster(horizon=7).fit(
        named, "day", "units", "shop", effort="instant", covariates=["promotion"]
    )
    planned = pd.DataFrame({"day": ["2024-03-21"], "promotion": ["nome"]})
    model.predict(planned)
    note = "promotion: 'nome' was not learned and counts as unknown; did you mean 'none'?"
    assert note in model.notes
    later = pd.DataFrame({"day": ["2026-03-21"], "promotion": ["2x1"]})
    model.scenarios({"typo": planned, "later": later}, [7])
    same = [note for note in model.notes if "changes nothing" in note]
    assert [note.split()[1] for note in same] == ["'typo'", "'later'"]


def test_a_covariate_that_is_nowhere_planned_may_be_a_past_one(promotions):
    _, model = promotions
    model.predict()
    [note] = [note for note in model.notes if "not known" in note]
    assert "FUTURE" in note
    assert "PAST_COVARIATES" in note


@pytest.mark.parametrize("role", ["covariates", "event"])
def test_a_plan_of_what_never_was_before_is_noted(promotions, role):
    table, _ = promotions
    model = Forecaster(horizon=7)
    options: dict[str, Any] = {role: "promotion" if role == "event" else ["promotion", "price"]}
    model.fit(
        table.assign(promotion=0.0, price=9.5), "day", "units", "shop", effort="instant", **options
    )
    days = pd.date_range("2024-03-21", periods=7)
    plan = pd.DataFrame({"day": days, "promotion": [0.0] * 6 + [1.0], "price": 9.5})
    model.predict(plan)
    [note] = [note for note in model.notes if "learned" in note]
    assert note.startswith("promotion is 1 on days ahead, and was 0 on all days before")
    model.predict(plan.assign(promotion=0.0))
    assert not [note for note in model.notes if "learned" in note]


def test_blanks_that_count_as_none_are_noted(promotions):
    table, _ = promotions
    named = table.assign(promotion=np.where(table["promotion"], "2x1", ""))
    model = Forecaster(horizon=7).fit(
        named, "day", "units", "shop", effort="instant", covariates=["promotion"]
    )
    model.predict(pd.DataFrame({"day": ["2024-03-21", "2024-03-22"], "promotion": ["", "2x1"]}))
    assert model.notes == [
        "promotion is known for 2 of the 7 days ahead",
        "a blank in promotion counts as none, as it mostly is blank",
    ]


def test_tables_may_have_their_days_in_the_index_and_must_be_tables(promotions):
    table, model = promotions
    planned = pd.DataFrame({"day": ["2024-03-21"], "price": [1.0]})
    indexed = planned.set_index("day")
    assert model.predict(indexed).equals(model.predict(planned))
    again = model.update(table.set_index(["shop", "day"])).predict(indexed)
    assert again.equals(model.update(table).predict(planned))
    for call in (lambda: model.predict("planned.csv"), lambda: model.update("sales.csv")):
        with pytest.raises(TypeError, match="got str, expected a DataFrame of pandas"):
            call()


def test_other_columns_of_a_plan_do_no_harm(promotions):
    _, model = promotions
    planned = pd.DataFrame({"day": ["2024-03-21"], "price": [1.0]})
    more = planned.assign(units=np.nan, note="x", prices_before=1.0)
    assert model.predict(more).equals(model.predict(planned))
    both = planned.assign(promotion=[True], promotions=["leaflet"])
    assert len(model.scenarios({"more": both}, [7], by_covariate=True))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("day;temp\n20/02/2024;0,5\n21/02/2024;0,5\n", "FUTURE ends 2024-02-21, before"),
        ("day,temp\n2025-01-01,1\n2025-01-02,1\n", "FUTURE begins 2025-01-01, after"),
    ],
)
def test_plans_of_other_days_are_noted(tmp_path, text, note):
    assert any(each.startswith(note) for each in forecast_with(tmp_path, text).notes)
