"""Totals of a batch: each partition adds up its series, and the sums of partitions are added.

The paths of all series are drawn from the same past origins, whichever partition they lie in. So
the paths of a group in one partition are added to those in another, path by path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data import Panel, SeriesError
from lib.inference.artifact import Contract
from lib.inference.distribution import mean_of_quantiles
from lib.inference.paths import PathSampler
from lib.inference.served_model import ServedModel
from lib.inference.totals import DayRange, GroupSum, Total, align_ranges, read_ranges

ALL = "all"  # the group of all series
FOLDER = "_totals"  # within that of the forecasts; readers of Parquet folders leave it out


class PartitionTotals:
    """Add up the series of one partition.

    Args:
        model: that forecasts.
        ranges: of days, as `read_ranges` takes them.
        by: "" for each series, "all" for their sum, or the name of a static covariate.

    Raises:
        ArtifactError: the model has no totals.
    """

    def __init__(self, model: ServedModel, ranges: Sequence[str], by: str) -> None:
        self._contract, self._wanted, self._by = model.contract, ranges, by
        self._sampler = PathSampler(model.ranks, model.contract.quantiles)
        self._groups: dict[tuple[str, np.datetime64], GroupSum] = {}

    def add(self, panel: Panel, origins: np.ndarray, quantiles: np.ndarray) -> None:
        """Add the forecasts of series.

        Args:
            panel: the series.
            origins: (series,) rows.
            quantiles: (series, horizon, levels).

        Raises:
            SeriesError: a series has no group.
        """
        lowest = np.fmin.reduceat(panel.values, panel.offsets[:-1])
        floors = np.where(lowest >= 0, 0.0, -np.inf)
        means = mean_of_quantiles(quantiles, self._contract.quantiles, floor=floors[:, None])
        groups = _group_names(panel, self._by)
        for s, name in enumerate(panel.ids):
            start = panel.dates[origins[s]] + 1
            total = self._groups.get((groups[s], start))
            if total is None:
                total = GroupSum(self._ranges(start), start)
                self._groups[groups[s], start] = total
            total.add(start, means[s], self._sampler.draw(name, quantiles[s], floor=floors[s]))

    def write(self, path: Path) -> None:
        """Write the totals with their paths, in one rename."""
        rows = [
            _row(group, start, total)
            for (group, start), sums in self._groups.items()
            for total in sums.totals()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), part)
        part.replace(path)

    def _ranges(self, start: np.datetime64) -> list[DayRange]:
        if self._by:  # day by day: series of other partitions may end on another day
            return [DayRange(day, day) for day in range(1, self._contract.horizon + 1)]
        return read_ranges(self._wanted, self._contract.horizon, start)


def add_partitions(
    paths: Sequence[Path], contract: Contract, ranges: Sequence[str], by: str
) -> tuple[pd.DataFrame, list[str]]:
    """Add the totals of partitions.

    The days of a group are counted from the latest of the first days of its series.

    Args:
        paths: of the files that `PartitionTotals.write` wrote.
        contract: of the model.
        ranges: of days, as for `PartitionTotals`.
        by: the same.

    Returns:
        Columns group, first, last (dates), days, series (numbers), mean and q0.05 … q0.95; and the
        names of groups of which ranges are left out, since their series end on different days.
    """
    levels = contract.quantiles
    names = ["group", "first", "last", "days", "series", "mean", *(f"q{x:g}" for x in levels)]
    if not by:
        rows = [_line(total["group"], _total_of(total), levels) for total in _read(paths)]
        return pd.DataFrame(rows, columns=names), []
    rows, short = [], []
    for group, parts in _gather(paths).items():
        starts = np.array(list(parts))
        wanted = read_ranges(ranges, contract.horizon, starts.max())
        inside, beyond = align_ranges(wanted, starts, contract.horizon)
        short += [group] if beyond else []
        total = GroupSum(inside, starts.max())
        for start, days in parts.items():
            total.add_sums(start, days)
        rows += [_line(group, each, levels) for each in total.totals()]
    return pd.DataFrame(rows, columns=names), short


def _gather(paths: Sequence[Path]) -> dict[str, dict[np.datetime64, list[Total]]]:
    """Return the totals of each day by group and first day of the series."""
    groups: dict[str, dict[np.datetime64, list[Total]]] = {}
    for row in _read(paths):
        total = _total_of(row)
        start = np.datetime64(row["start"], "D")
        days = groups.setdefault(row["group"], {}).setdefault(start, [])
        place = int((total.first - start).astype(np.int64))
        if place == len(days):
            days.append(total)
        else:
            known = days[place]
            days[place] = replace(
                known,
                series=known.series + total.series,
                mean=known.mean + total.mean,
                paths=known.paths + total.paths,
            )
    return groups


def _read(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        table = pq.read_table(path)
        values = np.asarray(table["paths"].combine_chunks().flatten())
        rows = table.drop(["paths"]).to_pylist()
        for row, drawn in zip(rows, values.reshape(len(rows), -1), strict=True):
            yield row | {"paths": drawn}


def _total_of(row: Mapping[str, Any]) -> Total:
    first = np.datetime64(row["first"], "D")
    return Total(DayRange(1, row["days"]), first, row["series"], row["mean"], row["paths"])


def _line(group: str, total: Total, levels: Sequence[float]) -> list[Any]:
    """Return a row of the table for people."""
    quantiles = total.quantiles(levels).tolist()
    days = total.days.days
    return [
        group,
        total.first.item(),
        total.last.item(),
        days,
        total.series,
        total.mean,
        *quantiles,
    ]


def _row(group: str, start: np.datetime64, total: Total) -> dict[str, Any]:
    """Return a row of the file of a partition."""
    return {
        "group": group,
        "start": start.item(),
        "first": total.first.item(),
        "days": total.days.days,
        "series": total.series,
        "mean": total.mean,
        "paths": total.paths,
    }


_SCHEMA = pa.schema(
    [
        ("group", pa.string()),
        ("start", pa.date32()),
        ("first", pa.date32()),
        ("days", pa.int32()),
        ("series", pa.int64()),
        ("mean", pa.float64()),
        ("paths", pa.list_(pa.float64())),
    ]
)


def _group_names(panel: Panel, by: str) -> list[str]:
    """Return the group of each series. Raises SeriesError."""
    if by in ("", ALL):
        return list(panel.ids) if by == "" else [ALL] * panel.n_series
    for covariate in panel.covariates:
        if covariate.role == "static" and covariate.name == by:
            values = covariate.values[panel.offsets[:-1]]
            if (unknown := ~np.isfinite(values)).any():
                name = panel.ids[int(unknown.argmax())]
                raise SeriesError(
                    f"TOTALS_BY: series {name!r} has no {by!r}; expected one a series"
                )
            labels = covariate.labels
            return [labels[int(value)] if labels else f"{value:g}" for value in values]
    raise SeriesError(
        f"TOTALS_BY: {by!r} is no static covariate of the model and the file; expected one, "
        f"{ALL!r}, or nothing for the totals of each series"
    )
