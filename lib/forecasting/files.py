"""From a file of the past to a file of the coming days, with a picture and a report beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib.data import SERIES_COLUMNS, load, planned_columns, read_plan_file, read_planned
from lib.forecasting.fitting import REGISTERED, check_effort, least_days
from lib.forecasting.forecaster import Forecaster
from lib.forecasting.groups import check_ranges, read_groups
from lib.forecasting.model_choice import Choice
from lib.forecasting.report import write_report
from lib.forecasting.tables import round_digits
from lib.pipeline import ParameterError, create_out_folder

SUFFIXES = (".csv", ".parquet")
# Parameters that say how a file is read; in lower case, arguments of `lib.data.load`.
READING = (
    "DATE_COLUMN",
    "VALUE_COLUMN",
    "SERIES_COLUMN",
    "EXTERNAL_COLUMN",
    "EVENT_COLUMN",
    "DECIMAL",
    "SEPARATOR",
    "ENCODING",
    "COVARIATES",
    "PAST_COVARIATES",
    "STATIC_COVARIATES",
    "CATEGORICAL",
)
# Parameters that name columns, in the order of SERIES_COLUMNS.
COLUMN_PARAMETERS = (
    "series_column",
    "date_column",
    "value_column",
    "external_column",
    "event_column",
)


@dataclass(frozen=True)
class ForecastFiles:
    """The forecast of a file, and what was written.

    Attributes:
        forecast: as `Forecaster.predict` returns it.
        choice: what forecast, and why.
        notes: what a reader should know.
        out: the forecast.
        report: Markdown.
        picture: of the first series.
        totals: sums over days, None where none were wanted.
    """

    forecast: pd.DataFrame
    choice: Choice
    notes: tuple[str, ...]
    out: Path
    report: Path
    picture: Path
    totals: Path | None = None


def forecast_file(
    data: Path,
    out: Path,
    *,
    horizon: int = 28,
    effort: str | None = None,
    future: Path | None = None,
    country: str = "",
    state: str = "",
    seed: int = 0,
    include_ended: bool = False,
    totals: Sequence[str] = (),
    totals_by: str = "",
    reading: Mapping[str, Any] | None = None,
    bases: Sequence[Path] = (),
    progress: bool = False,
) -> ForecastFiles:
    """Forecast the coming days of a file, and write forecast, picture and report.

    Args:
        data: CSV or Parquet file of daily series.
        out: file of the forecast, .csv or .parquet. The picture and the report have its stem.
        horizon: days ahead.
        effort: as for `Forecaster.fit`; None chooses the production model or "instant".
        future: file of planned covariates, with the column names of `data`.
        country: as for `Forecaster`.
        state: as for `Forecaster`.
        seed: as for `Forecaster`.
        include_ended: as for `Forecaster.predict`.
        totals: ranges of days as for `Forecaster.totals`; their sums are written beside `out`, as
            `next.totals.csv` beside `next.csv`.
        totals_by: "all", or a column of `data` with one value a series, whose groups are added up;
            "" for each series.
        reading: other arguments of `lib.data.load`, such as date_column or covariates.
        bases: folders that a relative path counts from; the first one, for `out`.
        progress: whether to show bars on standard error.

    Raises:
        ParameterError: an argument is wrong; nothing was read.
        SeriesError: the data cannot be used.
        RegistryError: effort "registered", and nothing is registered.
    """
    reading = {name: value for name, value in (reading or {}).items() if value}
    data = find_file("DATA", data, bases)
    planned_file = find_file("FUTURE", future, bases) if future else None
    out = _check_out(out, bases)
    if effort not in (None, REGISTERED):
        check_effort(effort)
    check_ranges(totals, horizon)
    groups = read_groups(data, totals_by, reading) if totals else None
    forecaster = Forecaster(horizon, country, seed, state)
    table = load(data, **reading, min_days=least_days(effort))
    forecaster.fit_table(table, effort, columns=_name_columns(reading), progress=progress)
    planned = _read_future(planned_file, reading, table) if planned_file else None
    forecast = forecaster.predict(planned, include_ended=include_ended)
    _write_table(forecast, out)
    notes, totals_file = list(forecaster.notes), None
    if totals:
        summed = forecaster.totals(
            totals, groups, future=planned, include_ended=include_ended, seed=seed
        )
        totals_file = out.with_suffix(f".totals{out.suffix}")
        numbers = summed.select_dtypes("float64")
        _write_table(summed.assign(**numbers.transform(_round_column)), totals_file)
        notes += [note for note in forecaster.notes if note not in notes]
    unit = reading.get("value_column", "value")
    picture = _write_picture(forecaster.history, forecast, out, unit)
    choice = forecaster.choice
    report = write_report(
        out,
        forecast,
        choice,
        notes,
        data=data,
        history=forecaster.history,
        picture=picture,
        unit=unit,
    )
    return ForecastFiles(forecast, choice, tuple(notes), out, report, picture, totals_file)


def find_file(parameter: str, path: Path, bases: Sequence[Path]) -> Path:
    """Return the path of a file that a parameter names, relative to one of the bases.

    Raises:
        ParameterError: there is no such file.
    """
    places = [(base / path.expanduser()).resolve() for base in (*bases, Path.cwd())]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        tried = " or ".join(dict.fromkeys(map(str, places)))
        raise ParameterError(f"{parameter}: expected a CSV or Parquet file, there is no {tried}")
    return found


def _check_out(out: Path, bases: Sequence[Path]) -> Path:
    if out.suffix not in SUFFIXES:
        raise ParameterError(f"OUT: got {out}, expected a file that ends in .csv or .parquet")
    return create_out_folder(out.parent, bases) / out.name


def _read_future(path: Path, reading: Mapping[str, Any], history: pd.DataFrame) -> pd.DataFrame:
    """Read a file of planned covariates, with its types, under the names of its columns."""
    names = _name_columns(reading)
    form = {name: reading[name] for name in ("separator", "encoding") if name in reading}
    frame, source = read_plan_file(path, names, history, **form)
    planned = read_planned(frame, names, history, source, decimal=reading.get("decimal", ""))
    return planned.rename(columns=planned_columns(names, history))


def _name_columns(reading: Mapping[str, Any]) -> dict[str, str]:
    """Return canonical names to those of the file, as far as they were given."""
    canonical = zip(COLUMN_PARAMETERS, SERIES_COLUMNS, strict=True)
    return {name: reading[parameter] for parameter, name in canonical if parameter in reading}


def _round_column(column: pd.Series) -> pd.Series:
    """Return sums without the noise of adding up, to six digits or what is given for a mean."""
    digits = 12 if column.name == "mean" else 6
    return pd.Series(round_digits(column.to_numpy(), digits), column.index)


def _write_table(forecast: pd.DataFrame, out: Path) -> None:
    """Write the forecast, whole or not at all."""
    part = out.with_name(f".{out.name}.part")
    if out.suffix == ".parquet":
        forecast.to_parquet(part, index=False)
    else:
        forecast.to_csv(part, index=False, date_format="%Y-%m-%d")
    part.replace(out)


def _write_picture(history: pd.DataFrame, forecast: pd.DataFrame, out: Path, unit: str) -> Path:
    from lib.forecasting.plots import plot_forecasts

    picture = out.with_suffix(".png")
    plot_forecasts(history, forecast, unit=unit).savefig(picture)
    return picture
