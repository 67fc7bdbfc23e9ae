"""Every bad input a file may hold: the message it gets, or what is made of it."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from lib.data.loading import load, validate
from lib.data.panel import SeriesError

DAYS = [str(day) for day in np.datetime64("2021-01-01") + np.arange(70)]
BR_DAYS = [f"{day[8:]}/{day[5:7]}/{day[:4]}" for day in DAYS]


@pytest.fixture
def csv(tmp_path):
    """Write `vendas.csv`: a header and one line per (day, value), line 2 the first."""

    def write(rows, header="date,value", sep=",", encoding="utf-8", end="\n"):
        file = tmp_path / "vendas.csv"
        lines = [header, *(row if isinstance(row, str) else sep.join(row) for row in rows)]
        file.write_bytes((end.join(lines) + end).encode(encoding))
        return file

    return write


def rows(days=DAYS, **changed):
    """(day, value) of each day; `l5="x"` puts the value x on line 5 of the file."""
    values = {f"l{i + 2}": f"{i % 9}.5" for i in range(len(days))} | changed
    return [(day, values[f"l{i + 2}"]) for i, day in enumerate(days)]


def refused(pattern, file, **options):
    with pytest.raises(SeriesError, match=pattern) as caught:
        load(file, **options)
    return str(caught.value)


# --- Encoding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_encoding_is_detected(csv, encoding):
    file = csv(rows(), header="date,preço", encoding=encoding)
    assert load(file, value_column="preço")["value"].iloc[1] == 1.5


def test_encoding_that_is_given_and_wrong_names_line_and_byte(csv):
    file = csv([*rows(), '2021-03-12,"não"'], encoding="latin-1")
    refused(
        r"vendas\.csv, line 72: byte 0xe3 is not utf-8; expected .* Set ENCODING .*latin-1",
        file,
        encoding="utf-8",
    )


def test_encoding_that_decodes_to_other_letters_shows_the_columns(csv):
    file = csv(rows(), header="date,preço")
    refused(
        r"read as latin-1.*no column 'preço'; .*'preÃ§o'.*VALUE_COLUMN.*ENCODING",
        file,
        value_column="preço",
        encoding="latin-1",
    )


def test_encoding_unknown_or_binary_is_refused(csv, tmp_path):
    file = csv(rows())
    refused("ENCODING: got 'utf-88', expected a name such as utf-8", file, encoding="utf-88")
    file.write_bytes(b"date,value\n\x81\x8d\x8f,1\n")
    refused("line 2: byte 0x81 is neither UTF-8 nor Windows-1252", file)
    file.write_bytes(b"date,value\n2021-01-01,\x00\n")
    refused("line 2: byte 0x00 is zero, so this is not utf-8 text", file)
    file.write_bytes(b"PK\x03\x04 and so on")
    refused(r"spreadsheet or an archive; expected CSV or Parquet\. Save the sheet", file)


# --- Separators and decimal marks ---------------------------------------------------------------


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_separator_is_detected(csv, sep):
    file = csv(rows(), header=f"date{sep}value", sep=sep)
    assert load(file)["value"].iloc[1] == 1.5


def test_brazilian_file_is_read_as_it_is(csv):
    written = [(day, f"1.{i % 10}00,25") for i, day in enumerate(BR_DAYS)]
    file = csv(written, header="data;receita (média)", sep=";", encoding="latin-1", end="\r\n")
    with capture_logs() as logs:
        loaded = load(file, date_column="data", value_column="receita (média)")
    assert loaded["value"].iloc[:2].tolist() == [1000.25, 1100.25]
    assert str(loaded["date"].iloc[-1].date()) == DAYS[-1]
    assert {log["event"] for log in logs} == {"series_file_format", "series_decimal_comma"}


def test_decimal_comma_in_quotes_is_read(csv):
    file = csv([(day, f'"{i},5"') for i, day in enumerate(DAYS)])
    assert load(file)["value"].iloc[3] == 3.5


def test_decimal_comma_without_quotes_names_the_line(csv):
    file = csv([(day, "1") for day in DAYS[:5]] + [(DAYS[5], "1,5")])
    refused(r"line 7: 3 fields; expected 2 as in the header, .*quotes around numbers", file)


def test_decimal_that_may_be_thousands_is_not_guessed(csv):
    file = csv([(day, "12.345") for day in DAYS], header="date;value", sep=";")
    refused(
        r"column 'value', line 2: '12\.345' may be 12345 or 12\.345; .*Set DECIMAL to '\.' or ','",
        file,
    )
    assert load(file, decimal=".")["value"].iloc[0] == 12.345
    assert load(file, decimal=",")["value"].iloc[0] == 12345


def test_decimal_given_wrongly_names_the_row(csv):
    refused(
        r"vendas\.csv.*column 'value', line 2: got '0\.5' \(70 rows like this\); "
        r"expected a number such as 1234,5.*set DECIMAL",
        csv(rows()),
        decimal=",",
    )


def test_decimal_marks_of_both_kinds_name_the_row(csv):
    file = csv(rows(l9="7,25"), header="date;value", sep=";")
    refused(r"column 'value', line 9: got '7,25'; expected a number such as 1234\.5", file)


def test_separator_and_decimal_options_are_checked(csv):
    file = csv(rows())
    refused("SEPARATOR: got ';;', expected one character", file, separator=";;")
    refused("DECIMAL: got '·', expected '.' or ','", file, decimal="·")
    refused("DECIMAL and SEPARATOR are both ','", file, decimal=",", separator=",")
    refused(r"no column 'date'; .*\['date,value'\].*SEPARATOR", file, separator=";")


# --- Files and columns --------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "\n\n", "  \r\n"])
def test_empty_file_is_refused(tmp_path, content):
    (tmp_path / "vendas.csv").write_text(content)
    refused(r"vendas\.csv: the file is empty; expected a header", tmp_path / "vendas.csv")


@pytest.mark.parametrize("written", [[], [",", ","]])
def test_file_of_a_header_alone_is_refused(csv, written):
    refused(r"vendas\.csv.*there are no rows; expected one row a day", csv(written))


def test_file_that_is_not_there_is_refused(tmp_path):
    refused(r"nowhere\.csv: cannot be read .*Check the path", tmp_path / "nowhere.csv")
    refused("cannot be read .*expected a CSV or Parquet file", tmp_path)


def test_parquet_file_that_was_cut_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    refused(r"a\.parquet: not a complete Parquet file .*Write it again", tmp_path / "a.parquet")


def test_column_that_is_not_there_names_the_nearest(csv):
    file = csv(rows(), header="date,vendas")
    refused(
        r"no column 'venda'; expected it among the columns \['date', 'vendas'\]\. "
        r"'vendas' is near\. Set VALUE_COLUMN",
        file,
        value_column="venda",
    )
    refused("no column 'loja'.*Set SERIES_COLUMN", file, series_column="loja")


def test_column_named_twice_is_refused(csv):
    file = csv([(day, "1", "2") for day in DAYS], header="date,value,value")
    refused("2 columns are named 'value'; expected one", file)
    file = csv(rows())
    refused("VALUE_COLUMN and EXTERNAL_COLUMN both name 'value'", file, external_column="value")


def test_empty_lines_are_passed_over_and_counted(csv):
    written = rows()
    written[3:3] = ["", ","]
    assert len(load(csv(written))) == 70
    written[20] = (DAYS[18], "x")
    refused("column 'value', line 22: got 'x'", csv(written))
    refused("column 'value', line 22: got 'x'", csv(written, end="\r\n"))


# --- Values -------------------------------------------------------------------------------------


def test_text_in_the_value_column_names_the_first_row(csv):
    refused(
        r"vendas\.csv, column 'value', line 8: got 'n/d' \(2 rows like this\); expected a number "
        r"such as 1234\.5, or nothing where it is missing\. Correct it or leave it blank",
        csv(rows(l8="n/d", l11="R$ 5")),
    )


@pytest.mark.parametrize("blank", ["", " ", "NA", "NaN", "null", "#N/A"])
def test_value_that_is_blank_is_missing(csv, blank):
    assert load(csv(rows(l8=blank)))["value"].isna().to_numpy().nonzero()[0].tolist() == [6]


def test_value_with_a_sign_or_exponent_is_read(csv):
    values = load(csv(rows(l2="+5", l3="-1.5e2", l4=".5")))["value"]
    assert values.iloc[:3].tolist() == [5, -150, 0.5]


@pytest.mark.parametrize("word", ["inf", "-inf", "Infinity", "1e999"])
def test_infinite_value_names_the_row(csv, word):
    refused(
        r"column 'value', line 9: got -?inf; expected a finite number, or nothing\. Correct it",
        csv(rows(l9=word)),
    )


def test_infinite_external_factor_names_the_column_of_the_user(csv):
    written = [(day, "1", "inf" if i == 4 else "2") for i, day in enumerate(DAYS)]
    file = csv(written, header="date,value,temp")
    refused("column 'temp', line 6: got inf", file, external_column="temp")


def test_event_outside_its_range_names_the_row(csv):
    written = [(day, "1", "2" if i == 4 else "0") for i, day in enumerate(DAYS)]
    file = csv(written, header="date,value,feriado")
    refused(r"column 'feriado', line 6: got 2\.0; expected 0 to 1", file, event_column="feriado")


@pytest.mark.parametrize("words", [("True", "false"), ("t", "f"), ("yes", "No"), ("Sim", "não")])
@pytest.mark.parametrize("kind", ["csv", "str", "category"])
def test_event_in_words_is_read(csv, tmp_path, words, kind):
    written = [(day, "1", words[i != 4]) for i, day in enumerate(DAYS)]
    file = csv(written, header="date,value,evento_especial")
    if kind != "csv":
        frame = pd.read_csv(file, dtype=str).astype({"evento_especial": kind})
        file = tmp_path / "words.parquet"
        frame.to_parquet(file)
    assert load(file)["evento_especial"].to_numpy().nonzero()[0].tolist() == [4]


def test_event_by_its_name_is_refused(csv):
    written = [(day, "1", "Natal" if i == 4 else "") for i, day in enumerate(DAYS)]
    refused(
        "column 'feriado', line 6: got 'Natal'; expected 0 to 1, or a word such as true or no. Wri",
        csv(written, header="date,value,feriado"),
        event_column="feriado",
    )


def test_all_values_missing_is_refused(csv):
    written = [(day, str(i), "a") for i, day in enumerate(DAYS)]
    written += [(day, "", "b") for day in DAYS]
    refused(
        r"column 'value', line 72: every value of series 'b' is missing; expected known values\. "
        r'Set VALUE_COLUMN .*or drop it: frame\[frame\["loja"\]\.astype\(str\) != "b"\]',
        csv(written, header="date,value,loja"),
        series_column="loja",
    )


def test_constant_series_is_kept_and_logged(csv):
    with capture_logs() as logs:
        loaded = load(csv([(day, "5") for day in DAYS]))
    assert (loaded["value"] == 5).all()
    (log,) = logs
    assert (log["event"], log["log_level"]) == ("series_constant", "warning")
    assert (log["series"], log["value"], log["row"]) == ("series", 5.0, "line 2")


def test_series_shorter_than_a_window_is_refused(csv):
    refused(
        r"column 'value', line 2: series 'series' has 59 observed values; expected at "
        r"least 60, one window\. Give a longer history",
        csv(rows(DAYS[:59])),
    )
    assert len(load(csv(rows(DAYS[:60])))) == 60
    refused("series 'series' has 59 observed values", csv(rows(DAYS[:60], l9="")))
    assert len(load(csv(rows(DAYS[:9])), min_days=9)) == 9


def test_values_that_are_all_tiny_are_refused(csv):
    refused(
        r"column 'value': no value is larger than 7e-09; expected some of 1e-05 or more\. Give",
        csv([(day, f"{i % 8 - 4}e-9") for i, day in enumerate(DAYS)] + [("2021-03-12", "7e-9")]),
    )
    assert len(load(csv([(day, f"{i % 8}e-5") for i, day in enumerate(DAYS)]))) == len(DAYS)


def test_short_series_beside_a_long_one_is_kept_and_logged(csv):
    written = [(day, str(i), "1") for i, day in enumerate(DAYS)]
    written += [(day, str(i), "2") for i, day in enumerate(DAYS[-5:])]
    with capture_logs() as logs:
        loaded = load(csv(written, header="date,value,series_id"))
    assert loaded["series_id"].value_counts().to_dict() == {"1": len(DAYS), "2": 5}
    (log,) = logs
    assert (log["event"], log["series"], log["days"]) == ("series_short", ["2"], 5)
    assert log["values"] == {"2": 5}
    refused(
        "series '1' has 40 observed values, and none of 2 has enough; expected at least 60",
        csv([*written[:40], *written[-5:]], header="date,value,series_id"),
    )


def test_series_without_a_name_is_refused(csv):
    written = [(day, str(i), "" if i == 7 else "a") for i, day in enumerate(DAYS)]
    file = csv(written, header="date,value,series_id")
    refused("column 'series_id', line 9: got ''; expected the name of a series", file)


# --- Dates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y"]
)
def test_date_format_is_detected(csv, form):
    file = csv([(day.strftime(form), str(i)) for i, day in enumerate(pd.to_datetime(DAYS))])
    loaded = load(file)
    assert loaded["date"].dt.strftime("%Y-%m-%d").tolist() == DAYS


def test_date_with_day_and_month_below_13_is_decided_by_its_steps(csv):
    days = [day for day in np.datetime64("2021-01-01") + np.arange(365) if int(str(day)[8:]) <= 12]
    file = csv([(f"{str(day)[8:]}/{str(day)[5:7]}/2021", "1.5") for day in days])
    assert load(file)["date"].iloc[1] == pd.Timestamp("2021-01-02")
    refused(
        r"column 'date', line 2: '05/05/2021' may be DD/MM/YYYY or MM/DD/YYYY.*YYYY-MM-DD",
        csv([("05/05/2021", "1")]),
    )


def test_mixed_date_formats_name_the_row(csv):
    refused(
        r"column 'date', line 12: mixed date formats, '11/01/2021' is DD/MM/YYYY where others are "
        r"YYYY-MM-DD \(2 rows like this\); expected .*Write every date in one format",
        csv(rows([*DAYS[:10], *BR_DAYS[10:12], *DAYS[12:]])),
    )


@pytest.mark.parametrize("word", ["2021-02-30", "yesterday", "44197.0", "01/02/21"])
def test_date_that_is_none_names_the_row(csv, word):
    refused(
        rf"column 'date', line 7: '{re.escape(word)}' is no date; expected a day of the calendar "
        r"as YYYY-MM-DD",
        csv(rows([*DAYS[:5], word, *DAYS[6:]])),
    )


def test_date_that_is_blank_names_the_row(csv):
    refused("column 'date', line 7: the date is blank", csv(rows([*DAYS[:5], "", *DAYS[6:]])))


def test_duplicate_days_name_both_rows(csv):
    refused(
        r"column 'dia', line 12: 2021-01-10 is there a second time in series 'series' \(first in "
        r"line 11\); expected each day once.*SERIES_COLUMN.*frame\.groupby\(\['dia'\]\)\[\"value\"",
        csv(rows([*DAYS[:10], *DAYS[9:]]), header="dia,value"),
        date_column="dia",
    )


def test_duplicate_days_of_two_series_in_one_ask_for_the_series_column(csv):
    written = [(day, "1.5", name) for name in "ab" for day in DAYS]
    file = csv(written, header="date,value,loja")
    refused(r"line 72: 2021-01-01 is there a second .*\(70 rows like this\).*SERIES_COLUMN", file)
    assert len(load(file, series_column="loja")) == 140


def test_unsorted_days_are_sorted_and_the_first_such_row_is_logged(csv):
    days = [*DAYS[:10], DAYS[11], DAYS[10], *DAYS[12:]]
    with capture_logs() as logs:
        loaded = load(csv(rows(days, l12="90", l13="80")))
    assert loaded["date"].dt.strftime("%Y-%m-%d").tolist() == DAYS
    assert loaded["value"].iloc[10:12].tolist() == [80, 90]
    (log,) = logs
    assert (log["event"], log["log_level"], log["row"]) == ("series_sorted", "warning", "line 13")


def test_unsorted_days_of_one_series_among_others_name_the_series(csv):
    written = [(day, f"{i % 8}.5", name) for i, day in enumerate(DAYS) for name in "ba"]
    written[20], written[22] = written[22], written[20]
    with capture_logs() as logs:
        load(csv(written, header="date,value,series_id"))
    assert [(log["event"], log["row"], log["series"]) for log in logs] == [
        ("series_sorted", "line 24", "b")
    ]


def test_wrong_year_is_refused_rather_than_filled_up(csv):
    refused(
        r"column 'date', line 71: 2201-03-11 is 65,\d{3} days after 2021-03-10; expected gaps of "
        r"at most 3,660 days\. Correct the year",
        csv(rows([*DAYS[:-1], "2201-03-11"])),
    )


@pytest.mark.parametrize("clock", [" 00:00", " 00:00:00", "T00:00:00", "T00:00:00.000"])
def test_midnight_is_a_day(csv, clock):
    assert len(load(csv(rows([day + clock for day in DAYS])))) == 70


def test_time_zone_at_local_midnight_is_the_local_day(csv, tmp_path):
    days = [f"{day}T00:00:00-0{2 + i % 2}:00" for i, day in enumerate(DAYS)]
    with capture_logs() as logs:
        loaded = load(csv(rows(days)))
    assert loaded["date"].dt.strftime("%Y-%m-%d").tolist() == DAYS
    assert [log["event"] for log in logs] == ["series_local_days"]
    zoned = pd.date_range("2021-01-01", periods=70, tz="America/Sao_Paulo")
    frame = pd.DataFrame({"date": zoned, "value": np.arange(70.0)})
    frame.to_parquet(tmp_path / "a.parquet")
    loaded = load(tmp_path / "a.parquet")
    assert loaded["date"].dt.strftime("%Y-%m-%d").tolist() == DAYS


def test_time_zone_off_midnight_is_refused_with_the_line_to_run(csv):
    message = refused(
        r"column 'date', line 2: the time is 2021-01-01T03:00:00, not midnight \(70 rows like "
        r"this\); expected daily rows\. If these are midnights in another time zone",
        csv(rows([f"{day}T03:00:00Z" for day in DAYS])),
    )
    frame = pd.DataFrame({"date": [f"{day}T03:00:00Z" for day in DAYS], "value": range(70)})
    exec(message.split("local days: ")[1], {"frame": frame, "pd": pd})
    assert validate(frame)["date"].dt.strftime("%Y-%m-%d").tolist() == DAYS


def test_daily_rows_at_another_time_are_refused_with_the_line_to_run(csv):
    message = refused("the time is 2021-01-01T23:59:00", csv(rows([d + " 23:59" for d in DAYS])))
    frame = pd.DataFrame({"date": [d + " 23:59" for d in DAYS], "value": range(70)})
    exec(message.split("drop the time: ")[1], {"frame": frame, "pd": pd})
    assert len(validate(frame)) == 70


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("brazilian", [False, True])
def test_hourly_rows_are_refused_with_the_resample_line_that_works(
    csv, tmp_path, monkeypatch, several, brazilian
):
    sep, mark = (";", ",") if brazilian else (",", ".")
    written = [
        (f"{day} {hour:02}:00", f"2{mark}5", name)
        for name in ("ab" if several else "a")
        for day in (BR_DAYS if brazilian else DAYS)
        for hour in range(24)
    ]
    file = csv(written, header=sep.join(("hora", "vendas", "loja")), sep=sep)
    series = "loja" if several else ""
    message = refused(
        r"column 'hora', line 3: the time is 2021-01-01T01:00:00, not midnight .*; expected "
        r'daily rows\. Make days of them: frame = pd\.read_csv\("vendas\.csv".*'
        r'\["vendas"\]\.resample\("D"\)\.sum\(min_count=1\)',
        file,
        date_column="hora",
        value_column="vendas",
        series_column=series,
    )
    monkeypatch.chdir(tmp_path)
    scope: dict = {"pd": pd}
    exec(message.split("Make days of them: ")[1].split(" (or ")[0], scope)
    scope["daily"].to_csv("daily.csv", index=False)
    loaded = load("daily.csv", date_column="hora", value_column="vendas", series_column=series)
    assert len(loaded) == (140 if several else 70)
    assert (loaded["value"] == 60).all()


# --- Tables from elsewhere ----------------------------------------------------------------------


def test_validate_names_rows_by_position():
    frame = pd.DataFrame(
        {"date": pd.to_datetime(DAYS), "value": 1.0 + np.arange(70)}, index=[0] * 70
    )
    frame.iloc[5, 1] = np.inf
    with pytest.raises(
        SeriesError, match=r"series table, column 'value', row 5 \(the first is 0\)"
    ):
        validate(frame)


def test_validate_refuses_values_that_are_no_numbers():
    mixed = pd.DataFrame({"date": DAYS, "value": [1.0, "x", *range(68)]}, dtype=object)
    with pytest.raises(SeriesError, match=r"column 'value', row 1 .*got 'x'; expected a number"):
        validate(mixed)
    dates = pd.DataFrame({"date": DAYS, "value": pd.to_datetime(DAYS)})
    with pytest.raises(SeriesError, match=r"column 'value', row 0 .*expected a number"):
        validate(dates)


def test_validate_refuses_blank_timestamps_and_missing_columns():
    frame = pd.DataFrame({"date": pd.to_datetime([*DAYS[:-1], None]), "value": range(70)})
    with pytest.raises(SeriesError, match=r"column 'date', row 69 .*the date is blank"):
        validate(frame)
    with pytest.raises(SeriesError, match=r"there is no column 'value'.*\['date'\]"):
        validate(frame[["date"]])


# --- Anything at all ----------------------------------------------------------------------------

cells = st.sampled_from([*DAYS[:4], "1", "1,5", "1.5", "1.234", "-", "x", "", '"', " ", "é", "\n"])
fuzz = hypothesis_settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzz
@given(content=st.binary(max_size=60) | st.lists(cells | st.sampled_from(",;\n")).map("".join))
def test_any_file_is_read_or_refused_by_name(tmp_path, content):
    file = tmp_path / "vendas.csv"
    data = content if isinstance(content, bytes) else content.encode()
    for start in (b"", b"date,value\n", b"date;value\n2021-01-01;1\n"):
        file.write_bytes(start + data)
        try:
            loaded = load(file, min_days=1)
        except SeriesError as error:
            assert "vendas.csv" in str(error)  # noqa: PT017 - reading it is one of two good ends
        else:
            assert loaded["value"].notna().any()
