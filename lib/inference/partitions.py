"""One partition of a batch forecast: read in pieces of whole series, forecast, written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data import Panel, SeriesError, Source, match_columns, to_panel, validate
from lib.inference.served_model import ServedModel, forecast_panel

PIECE = 200_000  # rows that are read at a time; a piece ends with a whole series
_MARK = b"made_from"  # in the metadata of a file: model and input


@dataclass(frozen=True)
class Job:
    """What all partitions of a run share. Paths as text; `model` is name → content of its files."""

    data: str
    out: str
    model: Mapping[str, bytes]
    sha256: str
    version: str
    columns: Mapping[str, str]
    as_of: str | None

    def mark(self, partition: Partition) -> bytes:
        """What tells that a partition's forecasts are those that this run would make."""
        facts = (self.sha256, self.as_of, sorted(self.columns.items()), partition.stamp)
        return repr(facts).encode()


@dataclass(frozen=True)
class Partition:
    """A file by its path below the data folder, and what changes when it is written again."""

    name: str
    stamp: str

    @classmethod
    def of(cls, data: Path, name: str) -> Partition:
        """The partition as it is now."""
        facts = (data / name).stat()
        return cls(name, f"{facts.st_size} {facts.st_mtime_ns}")


@dataclass(frozen=True)
class Result:
    """What became of a partition; `error` is empty where its forecasts are there."""

    name: str
    series: int = 0
    error: str = ""


def is_finished(job: Job, partition: Partition) -> bool:
    """Whether the forecasts of a partition are there, by this model and of this input."""
    try:
        metadata = pq.read_metadata(Path(job.out) / partition.name).metadata
    except (OSError, pa.ArrowInvalid):
        return False
    return (metadata or {}).get(_MARK) == job.mark(partition)


class PartitionForecaster:
    """Forecasts partitions, one call each; the model is opened once."""

    def __init__(self, job: Job) -> None:
        self.job = job
        with tempfile.TemporaryDirectory(prefix="model-") as name:
            for file, content in job.model.items():
                (Path(name) / file).write_bytes(content)
            self.forecaster = ServedModel.load(name)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Forecast `{"name", "stamp"}` and put its file in place. → a Result as a dictionary."""
        partition = Partition(row["name"], row["stamp"])
        try:
            return asdict(Result(partition.name, self._forecast(partition)))
        except SeriesError as error:
            return asdict(Result(partition.name, error=str(error)))

    def _forecast(self, partition: Partition) -> int:
        job, contract = self.job, self.forecaster.contract
        target = Path(job.out) / partition.name
        target.parent.mkdir(parents=True, exist_ok=True)
        quantiles = [f"quantile_{level:g}" for level in contract.quantiles]
        numbers = [(name, pa.float64()) for name in ("prediction", *quantiles)]
        schema = pa.schema([("series_id", pa.string()), ("date", pa.date32()), *numbers])
        marks = {_MARK: job.mark(partition), b"model_version": job.version.encode()}
        schema = schema.with_metadata(marks | {b"model_sha256": job.sha256.encode()})
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        count = 0
        try:
            with pq.ParquetWriter(part, schema) as writer:
                for panel in pieces(Path(job.data) / partition.name, job.columns):
                    writer.write_table(self._table(panel, schema))
                    count += panel.n_series
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return count

    def _table(self, panel: Panel, schema: pa.Schema) -> pa.Table:
        """The forecasts of all series of a panel, a row a series and day ahead."""
        horizon, levels = self.forecaster.contract.horizon, self.forecaster.contract.quantiles
        origins = last_known(panel, self.job.as_of)
        found = forecast_panel(self.forecaster, panel, origins)  # (series, horizon, quantiles)
        if not np.isfinite(found).all():
            bad = int(np.flatnonzero(~np.isfinite(found).all(axis=(1, 2)))[0])
            raise SeriesError(
                f"series {panel.ids[bad]!r}: the model has no forecast for its numbers; expected "
                "values of which some are known. Correct them or leave the series out"
            )
        dates = panel.dates[origins][:, None] + np.arange(1, horizon + 1)
        flat = found.reshape(-1, len(levels))
        above = int(np.searchsorted(levels, 0.5))
        share = (0.5 - levels[above - 1]) / (levels[above] - levels[above - 1])
        median = flat[:, above - 1] * (1 - share) + flat[:, above] * share
        names = np.repeat(np.array(panel.ids, dtype=object), horizon)
        arrays = [names, dates.reshape(-1), median, *flat.T]
        return pa.Table.from_arrays(
            [pa.array(a, type=f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
        )


def last_known(panel: Panel, as_of: str | None) -> np.ndarray:
    """Row of the last known day of each series: its last one, or `as_of`. → (series,) int64.

    Raises SeriesError for a series that has no day up to `as_of`.
    """
    last = panel.offsets[1:] - 1
    if as_of is None:
        return last
    first = panel.offsets[:-1]
    day = np.datetime64(as_of, "D")
    origins = np.minimum(last, first + (day - panel.dates[first]).astype(np.int64))
    if (origins < first).any():
        name = panel.ids[int((origins < first).argmax())]
        raise SeriesError(f"series {name!r}: begins after {day}; expected days up to it")
    return origins


def pieces(path: Path, columns: Mapping[str, str], rows: int = PIECE) -> Iterator[Panel]:
    """The series of a Parquet file, checked, at least `rows` rows at a time but for the last.

    Raises SeriesError naming the file, and the row it counts from.
    """
    seen: set[str] = set()
    at, rest = 0, pd.DataFrame()
    try:
        with pq.ParquetFile(path) as file:
            wanted = {"date": "date", "value": "value", **columns}
            found = match_columns(file.schema_arrow.names, wanted, Source(path.name))
            names = list(found.values())
            for batch in file.iter_batches(batch_size=rows, columns=names):
                frame = batch.to_pandas(date_as_object=False)[names]
                frame.columns = list(found)
                table = pd.concat([rest, frame], ignore_index=True) if len(rest) else frame
                whole = _whole(table)
                if whole:
                    yield _panel(table[:whole], path.name, at, seen)
                at, rest = at + whole, table[whole:].reset_index(drop=True)
            if len(rest):
                yield _panel(rest, path.name, at, seen)
    except (pa.ArrowInvalid, OSError) as error:
        raise SeriesError(
            f"{path.name}: not a complete Parquet file ({error}); expected one. Write it again"
        ) from error


def _whole(table: pd.DataFrame) -> int:
    """Rows before the last series, which may go on in the next piece."""
    if "series_id" not in table:
        return 0
    codes = pd.factorize(table["series_id"])[0]
    return int(np.flatnonzero(np.diff(codes, prepend=-2))[-1])


def _panel(table: pd.DataFrame, name: str, at: int, seen: set[str]) -> Panel:
    try:
        panel = to_panel(validate(table))
    except SeriesError as error:
        raise SeriesError(f"{name}, counted from its row {at}: {error}") from error
    if again := seen.intersection(panel.ids):
        raise SeriesError(
            f"{name}, from row {at}: series {min(again)!r} is there a second time; expected the "
            "rows of each series together. Sort the file by series and day"
        )
    seen.update(panel.ids)
    return panel
