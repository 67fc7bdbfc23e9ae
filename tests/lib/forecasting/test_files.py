"""A file in; forecast, picture and report out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.data import load
from lib.forecasting.files import forecast_file
from lib.pipeline import ParameterError
from tests.lib.forecasting.conftest import COLUMNS

READING = {f"{name}_column": column for name, column in COLUMNS.items()}


@pytest.fixture(scope="module")
def sales(shops, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sales.csv"
    shops.to_csv(path, index=False)
    return path


def test_csv_has_the_numbers_of_python_to_the_bit(sales, fitted, tmp_path):
    result = forecast_file(sales, tmp_path / "next.csv", effort="instant", reading=READING)
    written = pd.read_csv(result.out, parse_dates=["date"])
    expected = fitted.predict()
    pd.testing.assert_frame_equal(result.forecast, expected, check_exact=True)
    numbers = expected.columns[2:]
    assert (written[numbers].to_numpy() == expected[numbers].to_numpy()).all()
    assert (written["date"] == expected["date"]).all()
    assert result.out.read_text().splitlines()[1].startswith("north,2024-05-30,")


def test_picture_and_report_lie_beside_the_forecast(sales, tmp_path):
    result = forecast_file(sales, tmp_path / "next.parquet", effort="instant", reading=READING)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["next.md", "next.parquet", "next.png"]
    assert len(pd.read_parquet(result.out)) == 56
    text = result.report.read_text()
    assert "2 series, 2024-05-30 to 2024-06-26" in text
    assert "effort instant was given" in text
    assert "(next.png)" in text


def test_future_file_has_the_names_of_the_data(sales, fitted, tmp_path):
    plans = tmp_path / "plans.csv"
    plans.write_text("day,shop,promo\n2024-06-01,north,1\n")
    result = forecast_file(
        sales, tmp_path / "next.csv", effort="instant", future=plans, reading=READING
    )
    planned = pd.DataFrame({"day": ["2024-06-01"], "shop": ["north"], "promo": [1.0]})
    pd.testing.assert_frame_equal(result.forecast, fitted.predict(planned), check_exact=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": Path("none.csv")}, "DATA: expected a CSV or Parquet file, there is no"),
        ({"out": Path("next.xlsx")}, r"OUT: got next\.xlsx, expected .*\.csv or \.parquet"),
        ({"effort": "huge"}, "EFFORT: got 'huge'"),
        ({"future": Path("none.csv")}, "FUTURE: expected"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_read(sales, tmp_path, arguments, message):
    options = {"data": sales, "out": tmp_path / "next.csv", "effort": "instant"} | arguments
    with pytest.raises(ParameterError, match=message):
        forecast_file(options.pop("data"), options.pop("out"), **options)


def test_picture_of_many_series_says_how_many_are_shown(shops):
    from lib.forecasting.plots import plot_forecasts

    history = pd.DataFrame(
        {
            "series_id": [f"s{i:02}" for i in range(14) for _ in range(3)],
            "date": pd.date_range("2024-01-01", periods=3).tolist() * 14,
            "value": 1.0,
        }
    )
    levels = {f"q{level}": 1.0 + level for level in (0.1, 0.25, 0.5, 0.75, 0.9)}
    forecast = history.drop(columns="value").assign(**levels)
    figure = plot_forecasts(history, forecast, unit="units")
    assert "12 of 14 series shown" in figure.get_suptitle()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["history", "80 % interval", "50 % interval", "median forecast"]


def forecast_frame(folder, frame, name="sales.csv", **reading):
    frame.to_csv(folder / name, index=False)
    columns = {"date_column": "day", "value_column": "units"} | reading
    return forecast_file(
        folder / name, folder / "next.csv", horizon=7, effort="instant", reading=columns
    )


def test_report_names_sparse_demand_and_series_of_few_values(tmp_path):
    days = pd.date_range("2024-01-01", periods=120)
    steady = pd.DataFrame({"shop": "steady", "day": days, "units": np.arange(120) % 7 + 20})
    rare = steady.assign(shop="rare", units=(np.arange(120) % 3 == 0).astype(int))
    new = steady.tail(25).assign(shop="new")
    result = forecast_frame(tmp_path, pd.concat([steady, rare, new]), series_column="shop")
    text = result.report.read_text()
    assert "ittle is known of 'new' (25)" in text
    assert "parse demand, with 0 on most days: 'rare' (67 %)" in text
    assert "'steady' (" not in text


def test_report_names_demand_so_rare_that_the_mean_misses_it(tmp_path):
    days = pd.date_range("2024-01-01", periods=300)
    frame = pd.DataFrame({"day": days, "units": (np.arange(300) % 60 == 7).astype(float)})
    result = forecast_frame(tmp_path, frame)
    assert result.forecast["mean"].mean() < frame["units"].mean() / 2
    assert "fewer than one day in 10" in result.report.read_text()
    assert "'series' (0.0167 a day) in the last year" in result.report.read_text()


def test_report_keeps_the_letters_of_columns_and_names_the_one_series(tmp_path):
    days = pd.date_range("2024-01-01", periods=90)
    frame = pd.DataFrame({"day": days, "units": np.arange(90) % 7 + 20, "temp": np.arange(90) % 5})
    planned = pd.DataFrame({"day": days[-7:] + pd.Timedelta(days=7), "temp": 2})
    text = forecast_frame(
        tmp_path, pd.concat([frame, planned]), covariates=["temp"]
    ).report.read_text()
    assert "**Note.** temp is known for all days ahead." in text
    assert "| units |" in text


def test_text_has_six_digits_and_rising_quantiles(tmp_path):
    days = pd.date_range("2024-01-01", periods=90)
    frame = pd.DataFrame({"day": days, "units": 123456.789 + 1000 * (np.arange(90) % 7)})
    result = forecast_frame(tmp_path, frame)
    for line in result.out.read_text().splitlines()[1:]:
        cells = line.split(",")[2:]
        assert all(len(cell.replace(".", "").strip("0")) <= 6 for cell in cells)
        quantiles = [float(cell) for cell in cells[1:]]
        assert quantiles == sorted(quantiles)


def test_picture_has_gaps_on_closed_days_and_the_interval_of_the_report(tmp_path):
    from lib.forecasting.plots import plot_forecasts

    days = pd.bdate_range("2024-01-01", periods=120)
    frame = pd.DataFrame({"day": days, "units": np.arange(120) % 5 + 20.0})
    result = forecast_frame(tmp_path, frame)
    history = load(tmp_path / "sales.csv", date_column="day", value_column="units")
    axis = plot_forecasts(history, result.forecast, unit="units").axes[0]
    median = next(line for line in axis.lines if line.get_label() == "median forecast")
    weekend = result.forecast["date"].dt.day_of_week.to_numpy() >= 5
    drawn = np.asarray(median.get_ydata(), dtype=float)
    assert np.isnan(drawn[weekend]).all()
    assert np.isfinite(drawn[~weekend]).all()
    assert "80 % interval" in axis.get_legend_handles_labels()[1]
    assert axis.get_title(loc="left") == ""
