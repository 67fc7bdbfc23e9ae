"""Covariates at the readers: columns by the user's names, kinds by values, errors with a remedy."""

from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from lib.data.covariates import covariate_columns
from lib.data.loading import load, validate
from lib.data.panel import SeriesError
from lib.data.series_tables import to_panel, to_table

DAYS = 30


def table(**columns) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=DAYS)
    return pd.DataFrame({"date": days, "value": np.arange(DAYS) + 5.0} | columns)


def write(tmp_path, frame, separator=",", decimal="."):
    path = tmp_path / "sales.csv"
    frame.to_csv(path, index=False, sep=separator, decimal=decimal)
    return path


def read(frame, **options) -> pd.DataFrame:
    return validate(frame, min_days=1, **options)


def mixed() -> pd.DataFrame:
    return table(
        price=np.linspace(1.25, 9.75, DAYS),
        promo=np.tile([0, 1, 0], 10),
        open=np.tile(["sim", "não"], 15),
        weather=np.tile(["Sun", "Rain", "Snow"], 10),
        code=np.tile([1, 2, 3], 10),
        visits=np.arange(DAYS) * 7.5,
        size="Big",
    )


MIXED: dict[str, Any] = {
    "covariates": ["price", "promo", "open", "weather", "code"],
    "past_covariates": ["visits"],
    "static_covariates": ["size"],
}


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ",")])
def test_columns_of_a_file_are_covariates_with_role_and_kind(tmp_path, separator, decimal):
    path = write(tmp_path, mixed(), separator, decimal)
    loaded = load(path, min_days=1, **MIXED)
    assert covariate_columns(loaded.columns) == [
        "known:number:price",
        "known:event:promo",
        "known:event:open",
        "known:category:weather",
        "known:category:code",
        "past:number:visits",
        "static:category:size",
    ]
    assert loaded["known:number:price"].iloc[0] == 1.25
    assert loaded["known:event:open"].tolist()[:2] == [1.0, 0.0]
    assert loaded["known:category:code"].tolist()[:3] == ["1", "2", "3"]


def test_file_parquet_and_frame_give_the_same_table(tmp_path):
    frame = mixed().assign(open=np.tile([True, False], 15))
    frame["weather"] = frame["weather"].astype("category")
    by_csv = load(write(tmp_path, frame), min_days=1, **MIXED)
    frame.to_parquet(tmp_path / "sales.parquet")
    by_parquet = load(tmp_path / "sales.parquet", min_days=1, **MIXED)
    pd.testing.assert_frame_equal(by_csv, by_parquet)
    pd.testing.assert_frame_equal(by_csv, read(frame, **MIXED))
    pd.testing.assert_frame_equal(by_csv, to_table(to_panel(by_csv)))
    pd.testing.assert_frame_equal(by_csv, validate(by_csv, min_days=1))


def test_missing_values_and_missing_days_stay_unknown(tmp_path):
    frame = mixed().astype({"promo": float})
    frame.loc[4, ["price", "promo", "visits"]] = np.nan
    frame.loc[4, ["open", "weather", "size"]] = None
    frame = frame.drop(index=7)
    loaded = load(write(tmp_path, frame), min_days=1, **MIXED)
    known = [name for name in covariate_columns(loaded.columns) if not name.startswith("static")]
    assert loaded.loc[4, [n for n in known if "code" not in n]].isna().all()
    assert loaded.loc[7, known].isna().all()
    assert (loaded["static:category:size"] == "Big").all()


def test_categorical_overrules_what_numbers_look_like():
    frame = table(zone=np.arange(DAYS) * 100 % 700, flag=np.tile([0, 1], 15))
    names = {"covariates": ["zone", "flag"]}
    assert covariate_columns(read(frame, **names)) == ["known:number:zone", "known:event:flag"]
    forced = read(frame, categorical=["zone", "flag"], **names)
    assert covariate_columns(forced) == ["known:category:zone", "known:category:flag"]
    assert forced["known:category:zone"].tolist()[:3] == ["0", "100", "200"]


def test_a_name_that_is_the_begin_of_a_column_is_near():
    with pytest.raises(SeriesError, match="'promotion' is near"):
        read(table(promotion=1.0), covariates=["promo"])


def test_words_are_events_by_day_and_categories_by_series():
    frame = table(open=np.tile(["S", "N"], 15), region="S")
    names = {"covariates": ["open"], "static_covariates": ["region"]}
    learned = read(frame, **names)
    assert learned["known:event:open"][:2].tolist() == [1.0, 0.0]
    assert learned["static:category:region"].unique().tolist() == ["S"]
    # As models of earlier releases have learned it
    assert read(frame, kinds={"region": "event"}, **names)["static:event:region"][0] == 1.0


def test_codes_with_leading_zeros_stay_as_written(tmp_path):
    path = write(tmp_path, table(zip=np.tile(["01", "02"], 15)))
    loaded = load(path, min_days=1, covariates=["zip"], categorical=["zip"])
    assert loaded["known:category:zip"].tolist()[:2] == ["01", "02"]


def test_learned_kinds_overrule_what_few_days_look_like():
    frame = table(code=np.repeat([1, 2], 15), level=np.tile([0, 1], 15))
    kinds = {"code": "category", "level": "number"}
    loaded = read(frame, covariates=["code", "level"], kinds=kinds)
    assert covariate_columns(loaded) == ["known:category:code", "known:number:level"]


def test_constant_column_is_used_and_logged():
    with capture_logs() as logs:
        loaded = read(table(price=9.5), covariates=["price"])
    assert "known:number:price" in loaded
    assert [log["name"] for log in logs if log["event"] == "covariate_constant"] == ["price"]


def test_a_covariate_may_have_the_name_of_the_holidays():
    loaded = read(table(holiday=np.tile([0, 1], 15)), covariates=["holiday"], country="US")
    assert covariate_columns(loaded) == [
        "known:event:holiday",
        "known:holiday:holiday (US):US",
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"covariates": ["pric"]}, ["no column 'pric'", "'price' is near", 'covariates=["price"]']),
        ({"past_covariates": ["visit"]}, ["'visits' is near", "past_covariates="]),
        (
            {"covariates": ["price"], "past_covariates": ["price"]},
            ["covariates and past_covariates both name 'price'"],
        ),
        ({"covariates": ["value"]}, ["covariates names 'value'", "Rename the column"]),
        (
            {"covariates": ["price"], "categorical": ["prize"]},
            ["CATEGORICAL: got 'prize'", "did you mean 'price'?"],
        ),
    ],
)
def test_wrong_names_are_refused_with_a_remedy(names, words):
    with pytest.raises(SeriesError) as refused:
        read(mixed(), **names)
    assert all(word in str(refused.value) for word in words), refused.value


def test_static_covariate_with_two_values_names_series_and_row():
    frame = pd.concat([mixed().assign(series_id=name) for name in ("Shop 1", "Shop 2")])
    frame = frame.reset_index(drop=True)
    frame.loc[DAYS + 3, "size"] = "Small"
    with pytest.raises(SeriesError, match=r"'size', row 33.*series 'Shop 2' has 'Big' and 'Small'"):
        read(frame, static_covariates=["size"])


def test_text_among_numbers_names_column_and_line(tmp_path):
    frame = mixed().astype({"price": object})
    frame.loc[2, "price"] = "cheap"
    with pytest.raises(SeriesError, match=r"column 'price', line 4: got 'cheap'.*CATEGORICAL"):
        load(write(tmp_path, frame), min_days=1, covariates=["price"])


@pytest.mark.parametrize("arrow", [False, True])
def test_decimals_of_a_data_base_are_numbers(tmp_path, arrow):
    cells: Any = [None, *(Decimal("1.25") + i for i in range(DAYS - 1))]
    if arrow:
        cells = pd.array(cells, dtype=pd.ArrowDtype(pa.decimal128(10, 2)))
    frame = table(value=cells, price=cells)
    learned = read(frame, covariates=["price"])
    for name in ("value", "known:number:price"):
        assert np.isnan(learned[name][0])
        assert learned[name][1:].tolist() == [1.25 + i for i in range(DAYS - 1)]
    frame.to_parquet(tmp_path / "sales.parquet", index=False)
    loaded = load(tmp_path / "sales.parquet", min_days=1, covariates=["price"])
    pd.testing.assert_frame_equal(loaded, learned)


def test_text_of_arrow_among_values_is_refused():
    cells: Any = pd.array(["a"] * DAYS, dtype=pd.ArrowDtype(pa.string()))
    with pytest.raises(SeriesError, match="got 'a'"):
        read(table(value=cells))


@pytest.mark.parametrize(
    "cells",
    [
        [date(2024, 1, 1)] * DAYS,
        pd.period_range("2024-01-01", periods=DAYS, freq="D"),
        [None, *[time(18, 30)] * (DAYS - 1)],
    ],
)
def test_days_and_times_of_python_are_no_categories(cells):
    with pytest.raises(SeriesError, match="holds dates or times"):
        read(table(opened=cells), covariates=["opened"])


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d/%m/%Y", "%Y-%m-%d %H:%M:%S", "%m-%d-%Y"])
def test_dates_written_as_text_are_no_categories(form):
    days = pd.date_range("2024-01-01", periods=DAYS).strftime(form)
    cells = days.where(np.arange(DAYS) % 3 > 0, "")
    for role in ("covariates", "past_covariates"):
        with pytest.raises(SeriesError, match="'opened': the column holds dates or times"):
            read(table(opened=cells), **{role: ["opened"]})
    labels = read(table(opened=cells), covariates=["opened"], categorical=["opened"])
    assert "known:category:opened" in labels
    assert "static:category:opened" in read(table(opened=days[0]), static_covariates=["opened"])


def test_infinite_numbers_and_dates_are_refused():
    price = np.arange(DAYS) * 1.0
    price[3] = np.inf
    with pytest.raises(SeriesError, match=r"column 'price', row 3"):
        read(table(price=price), covariates=["price"])
    due = pd.date_range("2024-02-01", periods=DAYS)
    with pytest.raises(SeriesError, match=r"column 'due': the column holds dates"):
        read(table(due=due), covariates=["due"])


def test_rows_with_a_known_covariate_behind_the_last_value_are_planned():
    frame = table(price=np.linspace(1, 2, DAYS), visits=np.arange(DAYS) * 1.0)
    frame.loc[25:, "value"] = np.nan
    from lib.data.planned import split_planned

    for role, planned_days in (("covariates", 5), ("past_covariates", 0)):
        name = "price" if role == "covariates" else "visits"
        _, planned = split_planned(read(frame, **{role: [name]}))
        assert len(planned) == planned_days


def test_one_name_may_be_a_text():
    options = {"covariates": "price", "static_covariates": "size"}
    lists = {name: [column] for name, column in options.items()}
    pd.testing.assert_frame_equal(read(mixed(), **options), read(mixed(), **lists))
    with pytest.raises(SeriesError, match=r"no column 'prise'.*'price'"):
        read(mixed(), covariates="prise")
