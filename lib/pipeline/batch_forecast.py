"""Forecasts of very many series: partitioned Parquet in, the same partitions out, by Ray Data.

`python -m lib.pipeline.batch_forecast --help`. A partition is one Parquet file with whole series, the rows of each
together; it is read a piece at a time, so memory is bounded by the size of a piece and the number
of processes, not by the input. A partition's forecasts appear under its own name in one rename
when all of them are there; a run that is killed leaves whole partitions and is gone on with by
the same command. Local by default, on the cluster of RAY_ADDRESS where that is set: its nodes
then need this package and both folders at the same place.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from filelock import Timeout
from tenacity import Retrying, stop_after_attempt

from lib import locks
from lib.data import SERIES_COLUMNS
from lib.files import file_hash
from lib.inference import (
    CONTRACT,
    FILES,
    ArtifactError,
    Job,
    Partition,
    PartitionForecaster,
    Result,
    ServedModel,
    is_finished,
)
from lib.log import configure_logging
from lib.registry import PRODUCTION, Registry, RegistryError
from lib.settings import Settings, SettingsError, get_settings

log = structlog.get_logger()
_STORE = 100_000_000  # bytes of Ray's object store on one machine: only names pass through it


class BatchError(RuntimeError):
    """The forecasts cannot be made; the message says what is there instead."""


@dataclass(frozen=True)
class Summary:
    """What a run did: partitions made and found made, series and seconds of this run, errors."""

    made: int
    found: int
    series: int
    seconds: float
    errors: Mapping[str, str]  # partition → why it has no forecasts


def forecast_folder(
    data: Path,
    out: Path,
    model: Path,
    *,
    version: str,
    columns: Mapping[str, str] | None = None,
    as_of: np.datetime64 | None = None,
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
        columns: canonical name → the files' own, where that is another.
        as_of: last day whose value is known (default: the last day of each series). Later rows
            hold the planned events and the known factor.
        processes: default one a core of the machine or the cluster.

    Raises:
        BatchError: no partition, `out` is within `data` or `data` within `out`, or another run
            writes into `out`.
        ArtifactError: the model is not whole.
    """
    settings = settings or get_settings()
    names = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.parquet"))
    if not names:
        raise BatchError(f"{data}: no Parquet file; expected a folder of *.parquet")
    inside, outside = data.resolve(), out.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        # Forecasts have the names of their partitions: they would replace them, or be read as such.
        raise BatchError(f"{out}: is one folder with {data}; expected one apart from it")
    ServedModel.load(model)
    job = Job(
        data=str(data.resolve()),
        out=str(out.resolve()),
        model={name: (model / name).read_bytes() for name in (*FILES, CONTRACT)},
        sha256=file_hash(model / CONTRACT),
        version=version,
        columns=dict(columns or {}),
        as_of=None if as_of is None else str(as_of),
    )
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        for left in out.rglob(".*.part"):
            left.unlink()
        partitions = [Partition.of(data, name) for name in names]
        todo = [partition for partition in partitions if not is_finished(job, partition)]
        log.info("forecasting", partitions=len(names), finished=len(names) - len(todo))
        begin, made, series, errors = time.monotonic(), 0, 0, {}
        for result in _run(job, todo, settings, processes) if todo else ():
            if result.error:
                errors[result.name] = result.error
                log.error("partition refused", partition=result.name, error=result.error)
                continue
            made, series = made + 1, series + result.series
            seconds = time.monotonic() - begin
            log.info(
                "partition forecast",
                partition=result.name,
                series=result.series,
                done=made,
                of=len(todo),
                series_per_second=round(series / seconds, 1),
            )
    return Summary(made, len(names) - len(todo), series, time.monotonic() - begin, errors)


def _run(
    job: Job, todo: Sequence[Partition], settings: Settings, processes: int | None
) -> Iterator[Result]:
    """The partitions through Ray Data, in the order in which they finish."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about the user leaves
    try:
        import ray
        from ray.data import ActorPoolStrategy
    except ImportError as error:
        raise BatchError(
            f"Ray is not installed, or not whole ({error}); run: "
            "python -m pip install -r deploy/requirements-forecast.txt"
        ) from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if settings.ray_address:
        options["address"] = settings.ray_address
    else:
        cores = processes or len(os.sched_getaffinity(0))
        options |= {
            "address": "local",
            "_node_ip_address": "127.0.0.1",  # what others can reach asks for no password
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": _STORE,
        }
    for attempt in Retrying(stop=stop_after_attempt(3), reraise=True):
        with attempt:
            ray.shutdown()  # what an attempt that failed has left
            ray.init(**options)  # gives up after 30 seconds, which a busy machine may take
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        pool = int(ray.cluster_resources().get("CPU", 1)) if processes is None else processes
        rows = ray.data.from_items(
            [{"name": p.name, "stamp": p.stamp} for p in todo], override_num_blocks=len(todo)
        )
        forecaster: Any = PartitionForecaster  # Ray makes one of the class in each process
        results = rows.map(
            forecaster,
            fn_constructor_args=(job,),
            compute=ActorPoolStrategy(size=min(pool, len(todo))),
            num_cpus=1,
        )
        for row in results.iter_rows():
            yield Result(**row)
    finally:
        ray.shutdown()


@contextmanager
def _alone(out: Path) -> Generator[None]:
    try:
        with locks.locked(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise BatchError(f"{out}: another run writes into it; wait, or end that one") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. → 0 all forecast, 1 some or all could not, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.pipeline.batch_forecast", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the forecasts")
    parser.add_argument("--model", type=Path, help="artifact folder (default: production)")
    parser.add_argument("--as-of", help="last day with known values; later rows are plans")
    parser.add_argument("--processes", type=int, help="(default: one a core)")
    for name in SERIES_COLUMNS:
        parser.add_argument(f"--{name.replace('_', '-')}", default="", help="the files' own name")
    asked = parser.parse_args(arguments)
    try:
        settings = get_settings()
        configure_logging(settings.log_level)
        columns = {name: own for name in SERIES_COLUMNS if (own := getattr(asked, name))}
        as_of = None if asked.as_of is None else np.datetime64(asked.as_of, "D")
        with tempfile.TemporaryDirectory(prefix="forecast-") as name:
            model, version = asked.model, str(asked.model)
            if model is None:
                registry = Registry(settings)
                number = registry.version_of(PRODUCTION)
                if number is None:
                    raise RegistryError(f"{registry.name}: no production version; `make train`")
                model, version = registry.fetch(number, Path(name) / "model"), str(number)
            done = forecast_folder(
                asked.data,
                asked.out,
                model,
                version=version,
                columns=columns,
                as_of=as_of,
                settings=settings,
                processes=asked.processes,
            )
    except (BatchError, ArtifactError, RegistryError, SettingsError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to go on\n")
        return 130
    rate = done.series / done.seconds if done.seconds else 0.0
    log.info(
        "forecasts made",
        partitions=done.made,
        found_made=done.found,
        refused=len(done.errors),
        series=done.series,
        seconds=round(done.seconds, 1),
        series_per_second=round(rate, 1),
    )
    return 1 if done.errors else 0


if __name__ == "__main__":
    sys.exit(main())
