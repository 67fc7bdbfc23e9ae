import dataclasses
import datetime as dt
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from lib.data.loading import load, validate
from lib.data.panel import SERIES_COLUMNS, SeriesError, fingerprint
from lib.data.series_tables import to_panel, to_table
from lib.data.splits import split_days
from lib.settings import ROOT

DATA = ROOT.parent / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="the open data is not at ../shared/data")
quick = hypothesis_settings(deadline=None, max_examples=40)


def days(count: int, start: str = "2021-01-01") -> np.ndarray:
    return np.datetime64(start) + np.arange(count)


def table(lengths=(90, 70), start: str = "2021-01-01", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = [
        pd.DataFrame({"series_id": f"s{i}", "date": days(n, start), "value": rng.normal(9, 1, n)})
        for i, n in enumerate(lengths)
    ]
    return pd.concat(frames, ignore_index=True)


@st.composite
def drawn_tables(draw):
    """Canonical tables of up to four series with missing values and unknown factors."""
    number = st.none() | st.floats(-1e9, 1e9)
    frames = []
    for name in draw(st.lists(st.text("abcé 1", min_size=1), min_size=1, max_size=4, unique=True)):
        size = draw(st.integers(1, 12))
        columns = {
            "series_id": name.strip() or "x",
            "date": days(size, str(draw(st.dates(dt.date(1950, 1, 1), dt.date(2200, 1, 1))))),
            "value": draw(st.lists(number, min_size=size, max_size=size)),
            "fator_externo": draw(st.lists(number, min_size=size, max_size=size)),
            "evento_especial": draw(
                st.lists(st.none() | st.floats(0, 1), min_size=size, max_size=size)
            ),
        }
        columns["value"][draw(st.integers(0, size - 1))] = 1.5
        if not any((f["series_id"] == columns["series_id"]).any() for f in frames):
            frames.append(pd.DataFrame(columns))
    whole = pd.concat([f.astype(dict.fromkeys(SERIES_COLUMNS[2:], float)) for f in frames])
    return validate(whole, min_days=1)


@quick
@given(drawn_tables())
def test_panel_and_back_is_the_same_table(drawn):
    panel = to_panel(drawn)
    pd.testing.assert_frame_equal(to_table(panel), drawn)
    again = to_panel(to_table(panel))
    assert fingerprint(again) == fingerprint(panel)
    assert panel.ids == tuple(sorted(panel.ids))


@quick
@given(drawn_tables())
def test_validate_leaves_a_canonical_table_as_it_is(drawn):
    pd.testing.assert_frame_equal(validate(drawn, min_days=1), drawn)


@quick
@given(st.sets(st.integers(1, 78)), st.integers(0, 9))
def test_validate_makes_missing_days_missing_values(dropped, seed):
    whole = table((80,), seed=seed)
    complete = validate(whole.drop(index=list(dropped)), min_days=1)
    expected = whole["value"].to_numpy().copy()
    expected[list(dropped)] = np.nan
    assert (complete["date"].to_numpy() == days(80)).all()
    np.testing.assert_array_equal(complete["value"], expected)


@quick
@given(st.permutations(range(12)))
def test_validate_sorts_the_days_and_says_so(order):
    whole = table((12,))
    with capture_logs() as logs:
        found = validate(whole.iloc[order], min_days=1)
    pd.testing.assert_frame_equal(found, validate(whole, min_days=1))
    back = (np.diff(order) < 0).any()
    assert [log["event"] for log in logs] == ["series_sorted"] * int(back)


@quick
@given(st.randoms(use_true_random=False))
def test_validate_accepts_series_that_alternate(random):
    whole = table((70, 65, 60))
    # Any interleaving that keeps the order within each series
    labels = list(whole["series_id"])
    random.shuffle(labels)
    queues = {name: iter(rows.index) for name, rows in whole.groupby("series_id")}
    mixed = whole.loc[[next(queues[name]) for name in labels]]
    pd.testing.assert_frame_equal(validate(mixed), validate(whole))


def test_validate_does_not_touch_its_argument():
    given_table = table((70,)).drop(index=[3])
    before = given_table.copy(deep=True)
    validate(given_table)
    pd.testing.assert_frame_equal(given_table, before)


def test_validate_gives_the_canonical_columns_and_types():
    complete = validate(table((70,)).drop(columns="series_id"))
    assert list(complete) == list(SERIES_COLUMNS)
    assert [str(dtype) for dtype in complete.dtypes] == ["str", "datetime64[us]"] + 3 * ["float64"]
    assert set(complete["series_id"]) == {"series"}
    assert complete["fator_externo"].isna().all()


def test_panel_series_are_slices_of_consecutive_days():
    panel = to_panel(validate(table((90, 70))))
    assert (panel.n_series, panel.ids) == (2, ("s0", "s1"))
    np.testing.assert_array_equal(panel.offsets, [0, 90, 160])
    assert panel.series(1) == slice(90, 160)
    np.testing.assert_array_equal(panel.dates[panel.series(1)], days(70))
    with pytest.raises(IndexError, match="series 2: the panel has 2"):
        panel.series(2)


def test_to_panel_refuses_what_is_not_canonical():
    whole = validate(table((70, 70)))
    with pytest.raises(SeriesError, match=r"row 5, column 'date': 2021-01-07 follows 2021-01-05"):
        to_panel(whole.drop(index=[5]))
    with pytest.raises(SeriesError, match="row 140 goes back to series 's0'"):
        to_panel(pd.concat([whole, whole[:70]]))
    with pytest.raises(SeriesError, match=r"columns \['evento_especial'\] are missing"):
        to_panel(whole.drop(columns="evento_especial"))


def test_fingerprint_changes_with_every_part_and_only_then():
    panel = to_panel(validate(table((90, 70))))
    changed = {
        "ids": ("s0", "s2"),
        "offsets": np.array([0, 80, 160]),
        "dates": panel.dates + 1,
        "values": panel.values + 1e-12,
        "factor": np.zeros(160),
        "event": np.zeros(160),
    }
    hashes = {fingerprint(dataclasses.replace(panel, **{k: v})) for k, v in changed.items()}
    assert len(hashes | {fingerprint(panel)}) == 7
    zero = dataclasses.replace(panel, factor=np.zeros(160))
    minus = dataclasses.replace(panel, factor=-np.zeros(160))
    assert fingerprint(zero) == fingerprint(minus)


def test_fingerprint_is_the_same_on_every_machine():
    panel = to_panel(validate(pd.DataFrame({"date": days(60), "value": np.arange(60.0)})))
    assert fingerprint(panel).startswith("a7cabce0a40d2086")


def test_split_counts_back_from_the_last_day():
    panel = to_panel(validate(table((400, 300))))
    split = split_days(panel, horizon=28, cutoffs=3, step=14, validation_days=60)
    assert split.test_end == panel.dates.max()
    assert split.test_end - split.validation_end == np.timedelta64(56, "D")
    assert split.validation_end - split.train_end == np.timedelta64(60, "D")


def test_split_refuses_too_short_a_training_and_names_how_many_cutoffs_fit():
    panel = to_panel(validate(table((143,))))
    spans = {"horizon": 28, "cutoffs": 1, "step": 28, "validation_days": 60}
    with pytest.raises(SeriesError, match=r"143 days.* leave 55 .*at least 56\. Give at least 144"):
        split_days(panel, **spans)
    longer = to_panel(validate(table((200,))))
    with pytest.raises(SeriesError, match=r"leave 0 for training, .* Say CUTOFFS=3"):
        split_days(longer, **(spans | {"cutoffs": 6}))
    assert split_days(longer, **(spans | {"cutoffs": 3})).train_end == longer.dates[55]


def test_split_refuses_spans_without_values_and_numbers_below_one():
    whole = validate(table((300,)))
    whole.loc[whole.index[-40:], "value"] = np.nan
    spans = {"horizon": 28, "cutoffs": 1, "step": 1, "validation_days": 60}
    with pytest.raises(SeriesError, match="no value is known in the test span, 2021-09-30 to"):
        split_days(to_panel(whole), **spans)
    with pytest.raises(SeriesError, match="cutoffs is 0, expected at least 1"):
        split_days(to_panel(whole), **(spans | {"cutoffs": 0}))


def test_load_maps_the_columns_of_the_user(tmp_path):
    file = tmp_path / "vendas.csv"
    rows = [f"{day},{i},{i / 10},{int(i == 3)},loja" for i, day in enumerate(days(70))]
    file.write_text("dia,vendas,temp,feriado,onde\n" + "\n".join(rows), encoding="utf-8")
    loaded = load(
        file,
        date_column="dia",
        value_column="vendas",
        series_column="onde",
        external_column="temp",
        event_column="feriado",
    )
    assert set(loaded["series_id"]) == {"loja"}
    np.testing.assert_array_equal(loaded["value"], np.arange(70.0))
    np.testing.assert_allclose(loaded["fator_externo"], np.arange(70) / 10)
    assert loaded["evento_especial"].to_numpy().nonzero()[0].tolist() == [3]


def test_load_reads_parquet_as_csv(tmp_path):
    whole = table((70, 60))
    whole.to_csv(tmp_path / "a.csv", index=False)
    whole.to_parquet(tmp_path / "a.parquet")
    expected = validate(whole)
    pd.testing.assert_frame_equal(load(tmp_path / "a.csv"), expected)
    pd.testing.assert_frame_equal(load(tmp_path / "a.parquet"), expected)
    expected.to_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(load(tmp_path / "b.parquet"), expected)


def test_load_takes_public_holidays_as_events_only_where_there_are_none(tmp_path):
    frame = pd.DataFrame({"date": days(70, "2021-11-01"), "value": 1.0 + np.arange(70)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    events = load(tmp_path / "a.csv", country="BR").set_index("date")["evento_especial"]
    assert (events["2021-12-25"], events["2021-12-26"]) == (1.0, 0.0)
    assert set(events) == {0.0, 1.0}
    frame.assign(evento_especial=0.5).to_csv(tmp_path / "b.csv", index=False)
    assert (load(tmp_path / "b.csv", country="BR")["evento_especial"] == 0.5).all()
    with pytest.raises(SeriesError, match="COUNTRY: got 'XX', expected a two-letter code"):
        load(tmp_path / "a.csv", country="XX")


def test_loading_many_series_is_quick(tmp_path):
    lengths = np.full(1000, 500)
    frame = pd.DataFrame(
        {
            "series_id": np.repeat([f"s{i:04d}" for i in range(1000)], lengths),
            "date": np.tile(days(500), 1000),
            "value": np.random.default_rng(0).normal(size=500_000),
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    load(tmp_path / "a.parquet")  # imports
    start = time.process_time()
    panel = to_panel(load(tmp_path / "a.parquet"))
    # Half a second; a loop over rows would take minutes.
    assert time.process_time() - start < 5
    assert (panel.n_series, len(panel.values)) == (1000, 500_000)


def test_importing_series_loads_nothing_heavy():
    heavy = "{'torch', 'mlflow', 'shap'}"
    code = f"import sys, lib.data.loading; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@real_data
def test_load_bike_sharing_with_the_names_of_the_file():
    loaded = load(
        DATA / "bike_sharing_day.csv",
        date_column="dteday",
        value_column="cnt",
        external_column="temp",
        event_column="holiday",
    )
    assert loaded["value"].iloc[[0, -1]].tolist() == [985, 2729]
    assert (len(loaded), loaded["value"].isna().sum()) == (731, 0)
    assert loaded["evento_especial"].sum() == 21


@real_data
def test_load_nn5_is_111_series_with_gaps():
    panel = to_panel(load(DATA / "nn5_daily.csv"))
    assert (panel.n_series, len(panel.values)) == (111, 111 * 735)
    assert 0.015 < np.isnan(panel.values).mean() < 0.025


@real_data
@pytest.mark.parametrize(
    "name", ["metro_interstate", "peyton_manning", "uk_flights", "us_births_1969", "vic_elec"]
)
def test_load_open_data_completes_every_day(name):
    raw = pd.read_csv(DATA / f"{name}.csv")
    panel = to_panel(load(DATA / f"{name}.csv"))
    assert panel.ids == (name,)
    assert np.isfinite(panel.values).sum() == raw["value"].notna().sum()
    np.testing.assert_allclose(np.nansum(panel.values), raw["value"].sum())


@real_data
def test_load_seed_series_says_that_a_date_is_needed():
    with pytest.raises(SeriesError, match=r"no column 'date'; .*'valor_principal'.*DATE_COLUMN"):
        load(DATA / "seed_series.csv", value_column="valor_principal")


def test_the_line_of_excel_before_the_header_names_the_separator(tmp_path):
    lines = [
        f"{day:%d.%m.%Y};{i},5" for i, day in enumerate(pd.date_range("2024-01-01", periods=70))
    ]
    file = tmp_path / "sales.csv"
    file.write_text("sep=;\r\nday;units\r\n" + "\r\n".join(lines))
    table = load(file, date_column="day", value_column="units")
    assert table["value"].iloc[:2].tolist() == [0.5, 1.5]
    lines[3] = "04.01.2024;many"
    file.write_text("sep=;\nday;units\n" + "\n".join(lines))
    with pytest.raises(SeriesError, match="line 6: got 'many'"):
        load(file, date_column="day", value_column="units")


def test_words_that_pandas_takes_for_missing_are_missing(tmp_path):
    from pandas._libs.parsers import STR_NA_VALUES

    words = sorted(STR_NA_VALUES)
    days = pd.date_range("2024-01-01", periods=60 + len(words))
    cells = [*words, *range(60)]
    rows = [f"{day:%Y-%m-%d},{cell}" for day, cell in zip(days, cells, strict=True)]
    (tmp_path / "sales.csv").write_text("date,value\n" + "\n".join(rows))
    assert load(tmp_path / "sales.csv")["value"].isna().sum() == len(words)


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("3.867,50 €", "without '€'"),
        ("R$ 12,50", r"without 'R\$'"),
        ("12 kg", "without 'kg'"),
        ("many", "set DECIMAL"),
    ],
)
def test_what_stands_beside_a_number_is_named(tmp_path, cell, remedy):
    days = pd.date_range("2024-01-01", periods=70)
    rows = [f"{day:%Y-%m-%d};{cell if i == 3 else '1,5'}" for i, day in enumerate(days)]
    (tmp_path / "sales.csv").write_text("date;value\n" + "\n".join(rows))
    with pytest.raises(SeriesError, match=f"line 5: got .*{remedy}"):
        load(tmp_path / "sales.csv")


def test_a_column_that_holds_days_is_found(tmp_path):
    days = pd.date_range("2024-01-01", periods=70)
    frame = pd.DataFrame({"atemp": 0.5, "dteday": days.astype(str), "cnt": range(70)})
    frame.to_csv(tmp_path / "sales.csv", index=False)
    with pytest.raises(
        SeriesError, match=r"'dteday' holds days\. Set DATE_COLUMN=dteday"
    ) as caught:
        load(tmp_path / "sales.csv", value_column="cnt")
    assert "near" not in str(caught.value)
    for table in (frame, frame.assign(dteday=days)):
        with pytest.raises(SeriesError, match=r'holds days.*: date="dteday"') as caught:
            validate(table)
        assert "DATE_COLUMN" not in str(caught.value)
        assert "SEPARATOR" not in str(caught.value)


def test_a_column_a_shop_is_told_to_be_made_long(tmp_path):
    days = pd.date_range("2024-01-01", periods=70).astype(str)
    wide = pd.DataFrame({"day": days, "shopA": 1.0, "shopB": 2.0})
    wide.to_csv(tmp_path / "wide.csv", index=False)
    with pytest.raises(SeriesError, match=r'melt\(id_vars="day", value_vars=\[.shopA., .shopB.\]'):
        load(tmp_path / "wide.csv", date_column="day", value_column="shopA,shopB")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sales 2024\n\nday,units\n2024-01-01,5\n", "stand in line 3.*Delete the lines above"),
        ("2024-01-01,5\n2024-01-02,6\n", r"first line is \['2024-01-01', '5'\].*Write them above"),
        ("sku,2024-01-01,2024-01-02\na,1,2\n", r"2 columns are days.*melt\(id_vars=\['sku'\]"),
    ],
)
def test_a_first_line_without_the_names_is_refused_with_what_it_is(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SeriesError, match=words):
        load(tmp_path / "a.csv", date_column="day", value_column="units", min_days=1)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("45292", "2024-01-01"),
        ("1704067200", "2024-01-01"),
        ("13/01/24", "2024-01-13"),
        ("01-Jan-2024", "2024-01-01"),
        ("1 Feb 2024", "2024-02-01"),
        ("Feb 3, 2024", "2024-02-03"),
        ("2024-02", "2024-02-01"),
    ],
)
def test_the_remedy_for_other_dates_reads_them(tmp_path, written, day):
    cell = f'"{written}"' if "," in written else written
    (tmp_path / "a.csv").write_text(f"day,units\n{cell},5\n{cell},6\n")
    with pytest.raises(SeriesError) as caught:
        load(tmp_path / "a.csv", date_column="day", value_column="units", min_days=1)
    line = str(caught.value).partition("Make dates of them: ")[2]
    frame = pd.read_csv(tmp_path / "a.csv")
    exec(line, {"frame": frame, "pd": pd})
    assert str(frame["day"][0].date()) == day


@pytest.mark.parametrize(
    ("last", "remedy"), [("Total", "Correct it, or drop"), ("", "Fill it in, or drop")]
)
def test_a_row_of_no_day_is_to_be_dropped(tmp_path, last, remedy):
    (tmp_path / "a.csv").write_text(f"date,value\n2024-01-01,5\n2024-01-02,6\n{last},11\n")
    with pytest.raises(SeriesError, match=f"line 4: .*{remedy} the row"):
        load(tmp_path / "a.csv", min_days=1)
