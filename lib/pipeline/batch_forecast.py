"""Forecasts very many series: partitioned Parquet in, the same partitions out, by Ray Data.

`python -m lib.pipeline.batch_forecast --help`. A partition is one Parquet file with whole series,
the rows of each together. It is read a piece at a time, so memory is bounded by the size of a piece
and the number of processes, not by the input. Its forecasts appear under its name in one rename
when all of them are made; after a kill the same command resumes with the next partition. Ray runs
on this machine, or on the cluster of RAY_ADDRESS: its nodes then need this package and both folders
at the same place.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog
from filelock import Timeout

from lib import locks
from lib.data import SERIES_COLUMNS
from lib.files import file_hash
from lib.inference import (
    CONTRACT,
    ArtifactError,
    Contract,
    Job,
    Partition,
    PathSampler,
    ServedModel,
    add_partitions,
    is_finished,
    read_ranges,
)
from lib.log import configure_logging
from lib.pipeline.ray_pool import BatchError, run_on_ray
from lib.registry import PRODUCTION, Registry, RegistryError
from lib.settings import Settings, SettingsError, get_settings

log = structlog.get_logger()


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        made: partitions that were forecast.
        skipped: partitions that had their forecasts already.
        series: series that were forecast.
        seconds: duration of the run.
        errors: why a partition has no forecasts, by its name.
    """

    made: int
    skipped: int
    series: int
    seconds: float
    errors: Mapping[str, str]


def forecast_folder(
    data: Path,
    out: Path,
    model: Path,
    *,
    version: str,
    columns: Mapping[str, str] | None = None,
    as_of: np.datetime64 | None = None,
    totals: Sequence[str] = (),
    totals_by: str = "",
    settings: Settings | None = None,
    processes: int | None = None,
) -> Summary:
    """Forecast every series of a folder of Parquet files, those already forecast left out.

    Args:
        data: its files, at any depth, are the partitions; a series lies in one of them.
        out: gets a file of forecasts for each: series_id, date, prediction, a column a quantile.
        model: artifact folder. A partition that was forecast by another one, or whose input
            changed since, is forecast again.
        version: name of the model, written beside the forecasts.
        columns: the names of the columns in the files, by canonical name, where they differ.
        as_of: last day whose value is known (default: the last day of each series). Later rows
            hold the planned events and the known factor.
        totals: ranges of days that are added up, such as "7" or "8-14", into `<out>.totals.csv`.
        totals_by: "" for the totals of each series, "all" for their sum, or the name of a static
            covariate that the model has learned with.
        processes: default one a core of the machine or the cluster.

    Raises:
        BatchError: no partition, `out` is within `data` or `data` within `out`, or another run
            writes into `out`.
        ArtifactError: the model is not whole, or has no totals.
    """
    settings = settings or get_settings()
    names = _partition_names(data, out)
    job = replace(
        _make_job(data, out, model, version=version, columns=columns, as_of=as_of),
        totals=tuple(totals),
        totals_by=totals_by,
    )
    contract = _check_totals(model, totals, totals_by) if totals else None
    out.mkdir(parents=True, exist_ok=True)
    with _exclusive(out):
        for part in out.rglob(".*.part"):
            part.unlink()
        partitions = [Partition.of(data, name) for name in names]
        waiting = [partition for partition in partitions if not is_finished(job, partition)]
        skipped = len(names) - len(waiting)
        log.info("forecasting", partitions=len(names), finished=skipped)
        summary = _forecast_partitions(job, waiting, settings, processes, skipped)
        if contract and not summary.errors:  # a sum that lacks a partition is none
            files = [job.totals_path(partition) for partition in partitions]
            table, short = add_partitions(files, contract, totals, totals_by)
            if short:
                log.warning("totals left out: series end on different days", groups=short[:5])
            table.to_csv(out.with_name(f"{out.name}.totals.csv"), index=False)
        return summary


def _check_totals(model: Path, totals: Sequence[str], by: str) -> Contract:
    """Return the contract of a model that can make them. Raises BatchError, ArtifactError."""
    served = ServedModel.load(model)
    contract = served.contract
    PathSampler(served.ranks, contract.quantiles)
    try:
        read_ranges(totals, contract.horizon, np.datetime64("2026-01-01"))
    except ValueError as error:
        raise BatchError(f"TOTALS: {error}") from error
    described = contract.settings.get("covariates", [])
    known = ["all", *(item["name"] for item in described if item["role"] == "static")]
    if by and by not in known:
        raise BatchError(
            f"TOTALS_BY: got {by!r}, expected one of {', '.join(known)}, or nothing for the totals "
            "of each series"
        )
    return contract


def _partition_names(data: Path, out: Path) -> list[str]:
    """Return the Parquet files of a folder, relative to it. Raises BatchError."""
    names = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.parquet"))
    if not names:
        raise BatchError(f"{data}: no Parquet file; expected a folder of *.parquet")
    inside, outside = data.resolve(), out.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        # Forecasts have the names of their partitions: they would replace them, or be read as such.
        raise BatchError(f"{out}: is one folder with {data}; expected one apart from it")
    return names


def _make_job(
    data: Path,
    out: Path,
    model: Path,
    *,
    version: str,
    columns: Mapping[str, str] | None,
    as_of: np.datetime64 | None,
) -> Job:
    """Return what each process needs to forecast partitions. Raises ArtifactError."""
    contract = ServedModel.load(model).contract
    return Job(
        data=str(data.resolve()),
        out=str(out.resolve()),
        model={name: (model / name).read_bytes() for name in (*contract.files, CONTRACT)},
        sha256=file_hash(model / CONTRACT),
        version=version,
        columns=dict(columns or {}),
        as_of=None if as_of is None else str(as_of),
    )


def _forecast_partitions(
    job: Job,
    partitions: Sequence[Partition],
    settings: Settings,
    processes: int | None,
    skipped: int,
) -> Summary:
    """Forecast partitions in parallel, and log each as it finishes."""
    started, made, series, errors = time.monotonic(), 0, 0, {}
    for result in run_on_ray(job, partitions, settings, processes) if partitions else ():
        if result.error:
            errors[result.name] = result.error
            log.error("partition refused", partition=result.name, error=result.error)
            continue
        made, series = made + 1, series + result.series
        log.info(
            "partition forecast",
            partition=result.name,
            series=result.series,
            done=made,
            of=len(partitions),
            series_per_second=round(series / (time.monotonic() - started), 1),
        )
    return Summary(made, skipped, series, time.monotonic() - started, errors)


@contextmanager
def _exclusive(out: Path) -> Generator[None]:
    try:
        with locks.locked(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise BatchError(f"{out}: another run writes into it; wait, or end that one") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 (all forecast), 1 (some or all were not) or 130 (Ctrl-C)."""
    options = _build_parser().parse_args(arguments)
    try:
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        summary = _forecast(options, settings)
    except (BatchError, ArtifactError, RegistryError, SettingsError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to resume\n")
        return 130
    rate = summary.series / summary.seconds if summary.seconds else 0.0
    log.info(
        "forecasts made",
        partitions=summary.made,
        skipped=summary.skipped,
        refused=len(summary.errors),
        series=summary.series,
        seconds=round(summary.seconds, 1),
        series_per_second=round(rate, 1),
    )
    return 1 if summary.errors else 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.pipeline.batch_forecast", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the forecasts")
    parser.add_argument("--model", type=Path, help="artifact folder (default: production)")
    parser.add_argument("--as-of", help="last day with known values; later rows are plans")
    parser.add_argument(
        "--totals", default="", metavar="DAYS", help="sums to forecast, such as 7,28 or 8-14"
    )
    parser.add_argument(
        "--totals-by", default="", metavar="GROUP", help="all, or a static covariate of the model"
    )
    parser.add_argument("--processes", type=int, help="(default: one a core)")
    for name in SERIES_COLUMNS:
        parser.add_argument(f"--{name.replace('_', '-')}", default="", help="its name in the files")
    return parser


def _forecast(options: argparse.Namespace, settings: Settings) -> Summary:
    """Forecast by the model of the command line, or by the production version."""
    columns = {name: column for name in SERIES_COLUMNS if (column := getattr(options, name))}
    as_of = None if options.as_of is None else np.datetime64(options.as_of, "D")
    with tempfile.TemporaryDirectory(prefix="forecast-") as folder:
        model, version = options.model, str(options.model)
        if model is None:
            registry = Registry(settings)
            number = registry.version_of(PRODUCTION)
            if number is None:
                raise RegistryError(f"{registry.name}: no production version; `make train`")
            model, version = registry.fetch(number, Path(folder) / "model"), str(number)
        return forecast_folder(
            options.data,
            options.out,
            model,
            version=version,
            columns=columns,
            as_of=as_of,
            totals=[item for item in options.totals.split(",") if item.strip()],
            totals_by=options.totals_by,
            settings=settings,
            processes=options.processes,
        )


if __name__ == "__main__":
    sys.exit(main())
