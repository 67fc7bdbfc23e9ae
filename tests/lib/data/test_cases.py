"""Data that is not what it seems: what is made of each kind, of made-up data and of ../shared."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from structlog.testing import capture_logs

from lib.data.closed_days import closed_weekdays, is_missing
from lib.data.frequency import find_frequency
from lib.data.loading import load, validate
from lib.data.panel import SeriesError
from lib.data.planned import is_planned, last_history_day, split_planned
from lib.data.series_tables import to_panel
from lib.data.splits import split_days
from lib.evaluation.backtest import collect_forecasts, origin_rows
from lib.evaluation.baseline_quantiles import run_baselines
from lib.evaluation.baselines import naive
from lib.evaluation.left_out import describe_left_out
from lib.evaluation.metrics import seasonal_scale
from lib.evaluation.scores import compute_metrics
from lib.evaluation.verdict import judge
from lib.settings import ROOT

CASES = ROOT.parent / "shared" / "cases"
HORIZON, CUTOFFS, STEP = 14, 3, 14
SPANS = {"horizon": HORIZON, "cutoffs": CUTOFFS, "step": STEP}


def case(name):
    """Return the path of a file of ../shared/cases, or skip the test."""
    path = CASES / f"{name}.csv"
    if not path.is_file():
        pytest.skip("the small inputs are not at ../shared/cases")
    return path


def made_up(days=420, start="2024-01-01", name="a", seed=0, level=100.0):
    """Return a weekly pattern with noise."""
    dates = np.datetime64(start) + np.arange(days)
    rng = np.random.default_rng(seed)
    values = level * (1 + 0.2 * np.sin(2 * np.pi * np.arange(days) / 7)) + rng.normal(0, 5, days)
    return pd.DataFrame({"series_id": name, "date": dates, "value": values.round(3)})


def weekends_absent(table):
    return table[table["date"].dt.day_of_week < 5].reset_index(drop=True)


def reasons(panel, name):
    origins = origin_rows(panel, **SPANS)
    result = run_baselines(panel, origins, HORIZON)["naive"]
    table = describe_left_out(panel, result)
    return " | ".join(table.loc[table["series_id"] == name, "reason"])


# --- Frequency ----------------------------------------------------------------------------------

RULES = {
    "weekly": ["W-MON", "W-SUN"],
    "fortnightly": ["2W-WED"],
    "monthly": ["MS", "ME", "BMS", "BME"],
    "quarterly": ["QS", "QE"],
    "yearly": ["YS", "YE"],
    "every second day": ["2D"],
    "every 3 days": ["3D"],
    "daily": ["D", "B", "C"],
}


@pytest.mark.parametrize(("name", "rule"), [(n, r) for n, rules in RULES.items() for r in rules])
@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_frequency_is_found_with_and_without_gaps(name, rule, lost):
    days = pd.date_range("2019-01-01", periods=70, freq=rule)
    keep = np.random.default_rng(3).random(len(days)) >= lost
    if name.startswith("every") and lost:
        keep[:] = True  # such a step is seen only where most of it is there
    numbers = days[keep].to_numpy().astype("datetime64[D]").astype(np.int64)
    assert find_frequency(numbers) == name


@pytest.mark.parametrize("gaps", [0.3, 0.5, 0.7, 0.8])
@pytest.mark.parametrize("seed", range(5))
def test_daily_data_with_random_gaps_is_daily(gaps, seed):
    rng = np.random.default_rng(seed)
    days = np.flatnonzero(rng.random(400) >= gaps)
    assert find_frequency(days) == "daily"
    open_days = days[(days + 3) % 7 < 6]
    assert find_frequency(open_days) == "daily"


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d/%m/%Y"])
def test_weekly_file_stops_with_the_line_that_makes_days(tmp_path, monkeypatch, several, form):
    weeks = pd.date_range("2022-01-03", periods=100, freq="W-MON")
    frame = pd.DataFrame({"loja": "a", "dia": weeks.strftime(form), "vendas": np.arange(100.0)})
    if several:
        frame = pd.concat([frame, frame.assign(loja="b")])
    frame.to_csv(tmp_path / "semanas.csv", index=False)
    with pytest.raises(SeriesError, match="'dia', line 2: weekly data found: ") as error:
        load(
            tmp_path / "semanas.csv", date_column="dia", value_column="vendas", series_column="loja"
        )
    line = str(error.value).split("a level stays as it is: ")[1]
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"pd": pd}
    exec(line, scope)
    daily = scope["daily"].rename(columns={"dia": "date", "vendas": "value", "loja": "series_id"})
    assert to_panel(validate(daily)).n_series == (2 if several else 1)


def test_weekly_series_among_daily_ones_is_named():
    weekly = made_up(name="w").iloc[::7]
    with pytest.raises(SeriesError, match=r"weekly data found: series 'w'.*!= \"w\""):
        validate(pd.concat([made_up(name="a"), weekly]))
    blank = made_up(name="w")
    blank.loc[blank.index % 7 != 2, "value"] = np.nan
    with pytest.raises(SeriesError, match="weekly data found: series 'w' has 60 values"):
        validate(pd.concat([made_up(name="a"), blank]))


def test_case_weekly():
    with pytest.raises(SeriesError, match="weekly data found: series 'series' has 150 values"):
        load(case("weekly"))


# --- Closed days --------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [[6], [5, 6], [0], [0, 1, 2, 3, 4], [2, 6]])
def test_weekdays_without_rows_are_closed(closed):
    table = made_up()
    table = table[~table["date"].dt.day_of_week.isin(closed)]
    panel = to_panel(validate(table))
    assert np.flatnonzero(closed_weekdays(panel)[0]).tolist() == closed
    assert not is_missing(panel).any()


def test_closed_days_are_those_known_at_the_origin():
    table = made_up()
    sunday = table["date"].dt.day_of_week == 6
    until = table["date"].iloc[200]
    panel = to_panel(validate(table[~sunday | (table["date"] > until)]))
    day = np.datetime64(until, "D")
    assert closed_weekdays(panel, day)[0].tolist() == [False] * 6 + [True]
    assert not closed_weekdays(panel).any()
    other = to_panel(validate(table[~sunday]))
    np.testing.assert_array_equal(closed_weekdays(panel, day), closed_weekdays(other, day))


@pytest.mark.parametrize("gaps", [0.3, 0.7, 0.85])
def test_random_gaps_are_missing_and_not_closed(gaps):
    for seed in range(5):
        table = made_up()
        keep = np.random.default_rng(seed).random(len(table)) >= gaps
        panel = to_panel(validate(table[keep], min_days=1))
        assert not closed_weekdays(panel).any()
        assert is_missing(panel).sum() == np.isnan(panel.values).sum()


def test_short_series_is_not_taken_for_closed():
    panel = to_panel(validate(weekends_absent(made_up(days=20)), min_days=1))
    assert not closed_weekdays(panel).any()


def check_business_days(panel):
    origins = origin_rows(panel, **SPANS)
    weekday = (panel.dates[origins][:, None] + np.arange(1, HORIZON + 1)).astype(np.int64)
    weekend = (weekday + 3) % 7 >= 5
    for result in run_baselines(panel, origins, HORIZON).values():
        assert (result.point[weekend] == 0).all()
        assert result.quantiles is not None
        assert (result.quantiles[weekend] == 0).all()
        assert (result.point[~weekend] > 0).all()
        assert not np.isfinite(result.actual[weekend]).any()
        assert compute_metrics(result)["days"] == (~weekend).sum()
    assert not is_missing(panel).any()
    assert "closed on Saturdays and Sundays: forecast as 0" in reasons(panel, panel.ids[0])


def test_business_days_are_forecast_as_closed_and_not_scored():
    check_business_days(to_panel(validate(weekends_absent(made_up()))))


def test_case_business_days():
    check_business_days(to_panel(load(case("business_days"))))


# --- Names, order, time zones -------------------------------------------------------------------


def two_names(first, second, overlap):
    later = "2024-01-01" if overlap else "2024-06-01"
    return pd.concat([made_up(days=100, name=first), made_up(days=100, name=second, start=later)])


@pytest.mark.parametrize(("first", "second"), [("São", "Sa\u0303o"), ("Shop", " Shop ")])
def test_two_spellings_of_a_name_are_one_series_or_refused(first, second):
    with capture_logs() as logs:
        panel = to_panel(validate(two_names(first, second, overlap=False)))
    assert panel.ids == (first,)
    assert [log["event"] for log in logs] == ["series_names_joined"]
    with pytest.raises(SeriesError, match="are one name in two spellings") as error:
        validate(two_names(first, second, overlap=True))
    assert ascii(first) in str(error.value)
    assert ascii(second) in str(error.value)


def test_name_in_one_unicode_form_is_kept_as_it_is():
    assert to_panel(validate(made_up(name="Sa\u0303o"))).ids == ("Sa\u0303o",)


def test_names_that_differ_by_case_are_told():
    with capture_logs() as logs:
        panel = to_panel(validate(two_names("Shop", "SHOP", overlap=True)))
    assert panel.n_series == 2
    (log,) = logs
    assert (log["event"], log["series"]) == ("series_names_alike", [["'SHOP'", "'Shop'"]])


def test_case_nfc_nfd():
    with pytest.raises(SeriesError, match=r"'S\\xe3o' and 'Sa\\u0303o' are one name"):
        load(case("nfc_nfd"))


ZONES = [
    ("America/Sao_Paulo", "2018-09-01"),
    ("America/Havana", "2018-01-20"),
    ("Asia/Beirut", "2021-02-01"),
    ("America/Asuncion", "2018-08-20"),
    ("America/Santiago", "2018-07-01"),
]


@pytest.mark.parametrize(("zone", "start"), ZONES)
@pytest.mark.parametrize("kind", ["iso", "parquet", "naive"])
def test_local_days_without_a_midnight_are_days(tmp_path, zone, start, kind):
    local = pd.date_range(start, periods=150)
    days = local.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(150, dtype=bool))
    assert np.count_nonzero(days.hour == 1) == 1
    frame = pd.DataFrame({"date": days, "value": np.arange(150) % 8})
    if kind == "parquet":
        frame.to_parquet(tmp_path / "a.parquet")
        table = load(tmp_path / "a.parquet")
    else:
        written = days.tz_localize(None).astype("str")
        if kind == "iso":
            written = [day.isoformat() for day in days]
        frame.assign(date=written).to_csv(tmp_path / "a.csv", index=False)
        table = load(tmp_path / "a.csv")
    assert table["date"].tolist() == local.tolist()


def test_case_tz_sao_paulo():
    table = load(case("tz_sao_paulo_iso"))
    assert table["date"].tolist() == pd.date_range("2018-09-01", periods=150).tolist()
    assert table["value"].notna().all()


# --- Odd values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e6, -1e6])
@pytest.mark.parametrize("row", [100, 390])
def test_value_a_thousand_times_its_surroundings_is_told_and_rules_nothing(size, row):
    clean = made_up()
    spoilt = clean.copy()
    spoilt.loc[row, "value"] = size
    with capture_logs() as logs:
        panel = to_panel(validate(spoilt))
    (log,) = logs
    assert (log["event"], log["series"], log["value"]) == ("series_spike", "a", size)
    assert log["day"] == str(spoilt["date"].iloc[row])[:10]
    before = to_panel(validate(clean))
    until = before.dates[377]
    assert seasonal_scale(panel, until)[0] == pytest.approx(seasonal_scale(before, until)[0], 0.02)
    origins = origin_rows(panel, **SPANS)
    found = collect_forecasts(panel, origins, HORIZON, point=naive(before, origins, HORIZON))
    clean = collect_forecasts(before, origins, HORIZON, point=naive(before, origins, HORIZON))
    score, expected = (compute_metrics(r)["mase"] for r in (found, clean))
    assert score == pytest.approx(expected, 0.1)
    assert "a thousand times the values around it" in reasons(panel, "a")


def test_lasting_change_of_level_and_rare_sales_are_no_spikes():
    level = made_up()
    level.loc[200:, "value"] *= 5000
    sales = made_up(name="b")
    sales["value"] = np.where(np.arange(len(sales)) % 9 == 0, 40.0, 0.0)
    with capture_logs() as logs:
        validate(pd.concat([level, sales]))
    assert logs == []


def constants():
    dust = np.where(np.arange(420) % 2, 0.1 + 0.2, 0.3)
    for scale in (1.0, 1e-3, 1e6, 1e9, -1.0):
        yield dust * scale
    yield np.full(420, 5.0)
    yield np.zeros(420)


@pytest.mark.parametrize("values", list(constants()))
def test_constant_with_float_dust_has_no_scale_and_is_named(values):
    dust = made_up(name="price").assign(value=values)
    with capture_logs() as logs:
        panel = to_panel(validate(pd.concat([made_up(), dust])))
    (log,) = logs
    assert (log["event"], log["names"]) == ("series_constant", ["price"])
    assert np.isnan(seasonal_scale(panel, panel.dates[377])).tolist() == [False, True]
    assert "constant up to the first cutoff: no scale, so not in MASE" in reasons(panel, "price")
    origins = origin_rows(panel, **SPANS)
    alone = to_panel(validate(made_up()))
    scores = [
        compute_metrics(run_baselines(p, rows, HORIZON)["seasonal_naive"])["mase"]
        for p, rows in ((panel, origins), (alone, origin_rows(alone, **SPANS)))
    ]
    assert scores[0] == scores[1]


def test_case_float_dust_constant():
    panel = to_panel(load(case("float_dust_constant")))
    assert "not in MASE" in reasons(panel, "price")
    origins = origin_rows(panel, **SPANS)
    assert compute_metrics(run_baselines(panel, origins, HORIZON)["naive"])["mase"] < 10


# --- Series that begin late, end early or are short ---------------------------------------------


def test_series_that_began_late_or_ended_are_named():
    late = made_up(days=35, start="2025-01-20", name="late")
    ended = made_up(days=400, start="2021-01-01", name="ended")
    panel = to_panel(validate(pd.concat([made_up(), late, ended])))
    assert "begins on 2025-01-20: forecast from 2 of 3 cutoffs" in reasons(panel, "late")
    assert "no scale, so not in MASE" in reasons(panel, "late")
    assert reasons(panel, "ended").startswith("ended on 2022-02-04, by the first cutoff")
    assert reasons(panel, "a") == ""


@pytest.mark.parametrize(
    ("name", "series", "reason"),
    [
        ("late_start", "late", "no scale, so not in MASE"),
        ("ended_two_years_ago", "ended", "not forecast"),
        ("short_59_60_61", "s59", "rest on 17 values up to the first cutoff, and on 45"),
        ("short_59_60_61", "s61", "rest on 19 values up to the first cutoff, and on 47"),
    ],
)
def test_case_series_that_are_left_out_are_named(name, series, reason):
    assert reason in reasons(to_panel(load(case(name))), series)


def test_short_series_beside_a_long_one_are_told():
    short = [made_up(days=n, name=f"s{n}") for n in (59, 60, 61)]
    with capture_logs() as logs:
        panel = to_panel(validate(pd.concat([made_up(), *short])))
    assert panel.n_series == 4
    assert [(log["event"], log["values"]) for log in logs] == [
        ("series_short", {"s59": 59}),
        ("series_young", {"s60": 60, "s61": 61}),
    ]


# --- Planned rows -------------------------------------------------------------------------------


def planned_table(days=28, **columns):
    table = made_up().assign(fator_externo=1.5)
    dates = table["date"].iloc[-1] + pd.to_timedelta(np.arange(1, days + 1), "D")
    ahead = pd.DataFrame({"series_id": "a", "date": dates, "value": np.nan, **columns})
    return pd.concat([table, ahead], ignore_index=True)


@pytest.mark.parametrize("columns", [{"fator_externo": 2.0}, {"evento_especial": 1.0}])
def test_rows_behind_the_last_value_with_covariates_are_the_future(columns):
    whole = to_panel(validate(planned_table(**columns)))
    history = to_panel(validate(made_up().assign(fator_externo=1.5)))
    assert is_planned(whole).sum() == 28
    assert not is_missing(whole).any()
    assert last_history_day(whole) == history.dates[-1]
    np.testing.assert_array_equal(origin_rows(whole, **SPANS), origin_rows(history, **SPANS))
    spans = SPANS | {"validation_days": 60}
    assert split_days(whole, **spans) == split_days(history, **spans)
    past, planned = split_planned(validate(planned_table(**columns)))
    assert (len(past), len(planned)) == (420, 28)
    assert planned["value"].isna().all()


def test_blank_rows_at_the_end_are_missing_history(tmp_path):
    table = planned_table(days=5)
    panel = to_panel(validate(table))
    assert not is_planned(panel).any()
    assert is_missing(panel).sum() == 5
    file = tmp_path / "a.csv"
    table.drop(columns="fator_externo").to_csv(file, index=False)
    with_holidays = to_panel(load(file, country="BR"))
    assert not is_planned(with_holidays).any()
    assert np.isfinite(with_holidays.event[:420]).all()


def test_case_trailing_blank():
    panel = to_panel(load(case("trailing_blank_all")))
    assert not is_planned(panel).any()
    assert last_history_day(panel) == np.datetime64("2025-02-23")
    table = pd.read_csv(case("trailing_blank_all"), parse_dates=["date"])
    planned = to_panel(validate(table.assign(fator_externo=1.0)))
    assert last_history_day(planned) == np.datetime64("2025-02-18")


# --- Intermittent demand ------------------------------------------------------------------------


def intermittent(days=420):
    table = made_up(days=days, name="inter")
    rng = np.random.default_rng(4)
    sold = rng.random(days) < 0.25
    return table.assign(value=np.where(sold, rng.poisson(3, days) + 1.0, 0.0))


def check_intermittent(panel, name):
    origins = origin_rows(panel, **SPANS)
    mine = panel.series_of(origins) == panel.ids.index(name)
    for result in run_baselines(panel, origins, HORIZON).values():
        assert result.quantiles is not None
        assert (result.quantiles[mine] >= 0).all()
        assert np.isfinite(compute_metrics(result)["wql"])
    results = run_baselines(panel, origins, HORIZON)
    assert not judge(results["mean_7"], results).better


def test_intermittent_series_has_baselines_at_zero_or_above():
    check_intermittent(to_panel(validate(intermittent())), "inter")


def test_case_intermittent():
    check_intermittent(to_panel(load(case("intermittent"))), "inter")
