"""A file in; forecast, picture and report out."""

from pathlib import Path

import pandas as pd
import pytest

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
    levels = {f"q{level}": 1.0 + level for level in (0.05, 0.25, 0.5, 0.75, 0.95)}
    forecast = history.drop(columns="value").assign(**levels)
    figure = plot_forecasts(history, forecast, unit="units")
    assert "12 of 14 series shown" in figure.get_suptitle()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["history", "90 % interval", "50 % interval", "median forecast"]
