"""Forecast partitions by Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from tenacity import Retrying, stop_after_attempt

from lib.inference import Job, Partition, PartitionForecaster, Result
from lib.settings import Settings, usable_cores

_STORE = 100_000_000  # bytes of Ray's object store on one machine: only names pass through it


class BatchError(RuntimeError):
    """The forecasts cannot be made; the message says why and what to do."""


def run_on_ray(
    job: Job, partitions: Sequence[Partition], settings: Settings, processes: int | None
) -> Iterator[Result]:
    """Yield the results of partitions, in the order in which they finish."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about the user leaves
    try:
        import ray
        from ray.data import ActorPoolStrategy
    except ImportError as error:
        raise BatchError(
            f"Ray is not installed, or not whole ({error}); run: "
            "python -m pip install -r deploy/requirements-forecast.txt"
        ) from error
    _start_ray(ray, settings, processes)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        pool = int(ray.cluster_resources().get("CPU", 1)) if processes is None else processes
        rows = ray.data.from_items(
            [{"name": p.name, "stamp": p.stamp} for p in partitions],
            override_num_blocks=len(partitions),
        )
        forecaster: Any = PartitionForecaster  # Ray makes one of the class in each process
        results = rows.map(
            forecaster,
            fn_constructor_args=(job,),
            compute=ActorPoolStrategy(size=min(pool, len(partitions))),
            num_cpus=1,
        )
        for row in results.iter_rows():
            yield Result(**row)
    finally:
        ray.shutdown()


def _start_ray(ray: Any, settings: Settings, processes: int | None) -> None:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if settings.ray_address:
        options["address"] = settings.ray_address
    else:
        options |= {
            "address": "local",
            "_node_ip_address": "127.0.0.1",  # what others can reach asks for no password
            "num_cpus": processes or usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _STORE,
        }
    for attempt in Retrying(stop=stop_after_attempt(3), reraise=True):
        with attempt:
            ray.shutdown()  # what an attempt that failed has left
            ray.init(**options)  # gives up after 30 seconds, which a busy machine may take
