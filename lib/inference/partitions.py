"""Forecast one partition of a batch: read whole series in pieces, write the file at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data import (
    Panel,
    SeriesError,
    Source,
    align_covariates,
    last_history_rows,
    match_columns,
    refuse_misspelt,
    to_panel,
    validate,
)
from lib.inference.artifact import Contract
from lib.inference.partition_totals import FOLDER, PartitionTotals
from lib.inference.served_model import ServedModel, forecast_panel

PIECE_ROWS = 200_000  # read at a time; a piece ends with a whole series
_PROVENANCE = b"made_from"  # key of the metadata that names model and input


@dataclass(frozen=True)
class Job:
    """Describe what all partitions of a run share.

    Attributes:
        data: folder of the input.
        out: folder of the forecasts.
        model: content of the artifact's files, by name.
        sha256: hash of the contract.
        version: name of the model version.
        columns: canonical name to the name in the files, where they differ.
        as_of: last day whose value is known, an ISO date; None for the last day of each series.
        totals: ranges of days that are added up, as `read_ranges` takes them; none by default.
        totals_by: "" for each series, "all", or the name of a static covariate.
    """

    data: str
    out: str
    model: Mapping[str, bytes]
    sha256: str
    version: str
    columns: Mapping[str, str]
    as_of: str | None
    totals: tuple[str, ...] = ()
    totals_by: str = ""

    def provenance(self, partition: Partition) -> bytes:
        """Return a key that is equal for forecasts of the same model and input."""
        facts = (self.sha256, self.as_of, sorted(self.columns.items()), partition.stamp)
        totals = (self.totals, self.totals_by) if self.totals else ()
        return repr((*facts, *totals)).encode()

    def totals_path(self, partition: Partition) -> Path:
        """Return where the totals of a partition are."""
        return Path(self.out) / FOLDER / partition.name


@dataclass(frozen=True)
class Partition:
    """Name a file below the data folder, with a stamp that changes when it is written again."""

    name: str
    stamp: str

    @classmethod
    def of(cls, data: Path, name: str) -> Partition:
        """Return the partition with the stamp of its file now."""
        facts = (data / name).stat()
        return cls(name, f"{facts.st_size} {facts.st_mtime_ns}")


@dataclass(frozen=True)
class Result:
    """Report the forecasts of one partition; `error` is empty on success."""

    name: str
    series: int = 0
    error: str = ""


def is_finished(job: Job, partition: Partition) -> bool:
    """Return whether this model has already forecast this input."""
    try:
        metadata = pq.read_metadata(Path(job.out) / partition.name).metadata
    except (OSError, pa.ArrowInvalid):
        return False
    if job.totals and not job.totals_path(partition).exists():
        return False
    return (metadata or {}).get(_PROVENANCE) == job.provenance(partition)


class PartitionForecaster:
    """Forecast partitions, one a call; the model is opened once."""

    def __init__(self, job: Job) -> None:
        self.job = job
        with tempfile.TemporaryDirectory(prefix="model-") as name:
            for file, content in job.model.items():
                (Path(name) / file).write_bytes(content)
            self.model = ServedModel.load(name)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Forecast the partition `{"name", "stamp"}` and return its Result as a dictionary."""
        partition = Partition(row["name"], row["stamp"])
        try:
            return asdict(Result(partition.name, self._write_forecasts(partition)))
        except SeriesError as error:
            return asdict(Result(partition.name, error=str(error)))

    def _write_forecasts(self, partition: Partition) -> int:
        """Write the file of forecasts in one rename and return the number of series."""
        target = Path(self.job.out) / partition.name
        target.parent.mkdir(parents=True, exist_ok=True)
        schema = _schema(self.job, partition, self.model.contract)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        count = 0
        job = self.job
        totals = PartitionTotals(self.model, job.totals, job.totals_by) if job.totals else None
        try:
            with pq.ParquetWriter(part, schema) as writer:
                described = self.model.contract.settings.get("covariates", [])
                path = Path(self.job.data) / partition.name
                for panel in read_panels(path, self.job.columns, covariates=described):
                    writer.write_table(self._forecast(panel, schema, totals))
                    count += panel.n_series
            if totals:
                totals.write(job.totals_path(partition))  # first: the forecasts say it is done
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return count

    def _forecast(
        self, panel: Panel, schema: pa.Schema, totals: PartitionTotals | None
    ) -> pa.Table:
        """Return one row for each series and day ahead; add them to the totals."""
        horizon, levels = self.model.contract.horizon, self.model.contract.quantiles
        described = self.model.contract.settings.get("covariates")
        if described is not None:
            panel = align_covariates(panel, described)
        origins = last_known_rows(panel, self.job.as_of)
        quantiles = forecast_panel(self.model, panel, origins)  # (series, horizon, levels)
        unusable = ~np.isfinite(quantiles).all(axis=(1, 2))
        if unusable.any():
            raise SeriesError(
                f"series {panel.ids[int(np.argmax(unusable))]!r}: the model has no forecast for "
                "its numbers; expected values of which some are known. Correct them or leave the "
                "series out"
            )
        if totals:
            totals.add(panel, origins, quantiles)
        dates = panel.dates[origins][:, None] + np.arange(1, horizon + 1)
        flat = quantiles.reshape(-1, len(levels))
        names = np.repeat(np.array(panel.ids, dtype=object), horizon)
        arrays = [names, dates.reshape(-1), _median(flat, levels), *flat.T]
        return pa.Table.from_arrays(
            [pa.array(a, type=f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
        )


def last_known_rows(panel: Panel, as_of: str | None) -> np.ndarray:
    """Return the row of the last known day of each series.

    Args:
        as_of: the last known day, an ISO date; None for the last day of each history.

    Returns:
        (series,) int64.

    Raises:
        SeriesError: a series has no day up to `as_of`.
    """
    last = last_history_rows(panel)
    if as_of is None:
        return last
    first = panel.offsets[:-1]
    day = np.datetime64(as_of, "D")
    origins = np.minimum(last, first + (day - panel.dates[first]).astype(np.int64))
    if (origins < first).any():
        name = panel.ids[int((origins < first).argmax())]
        raise SeriesError(f"series {name!r}: begins after {day}; expected days up to it")
    return origins


def read_panels(
    path: Path,
    columns: Mapping[str, str],
    piece_rows: int = PIECE_ROWS,
    *,
    covariates: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Panel]:
    """Yield the series of a Parquet file, validated, a bounded number of rows at a time.

    Args:
        columns: canonical name to the name in the file, where they differ.
        piece_rows: rows read at a time. A panel ends with a whole series, so may hold more.
        covariates: of the model, by its contract; those that the file has are read.

    Raises:
        SeriesError: naming the file, and the row from which its row numbers count.
    """
    seen: set[str] = set()
    first, rest = 0, pd.DataFrame()
    try:
        with pq.ParquetFile(path) as file:
            wanted = {"date": "date", "value": "value", **columns}
            header, source = file.schema_arrow.names, Source(path.name)
            wanted |= _covariate_columns(covariates, header)
            expected = [item["name"] for item in covariates if item["kind"] != "holiday"]
            refuse_misspelt(expected, header, wanted.values(), source)
            matched = match_columns(header, wanted, source)
            names = list(matched.values())
            for batch in file.iter_batches(batch_size=piece_rows, columns=names):
                frame = batch.to_pandas(date_as_object=False)[names]
                frame.columns = list(matched)
                table = pd.concat([rest, frame], ignore_index=True) if len(rest) else frame
                complete = _complete_rows(table)
                if complete:
                    yield _to_panel(table[:complete], path.name, first, seen)
                first, rest = first + complete, table[complete:].reset_index(drop=True)
            if len(rest):
                yield _to_panel(rest, path.name, first, seen)
    except (pa.ArrowInvalid, OSError) as error:
        raise SeriesError(
            f"{path.name}: not a complete Parquet file ({error}); expected one. Write it again"
        ) from error


def _covariate_columns(
    covariates: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, str]:
    """Return canonical names to the user's names of the covariates that a file has."""
    return {
        f"{item['role']}:{item['kind']}:{item['name']}": item["name"]
        for item in covariates
        if item["kind"] != "holiday" and item["name"] in names
    }


def _schema(job: Job, partition: Partition, contract: Contract) -> pa.Schema:
    quantiles = [f"quantile_{level:g}" for level in contract.quantiles]
    numbers = [(name, pa.float64()) for name in ("prediction", *quantiles)]
    schema = pa.schema([("series_id", pa.string()), ("date", pa.date32()), *numbers])
    return schema.with_metadata(
        {
            _PROVENANCE: job.provenance(partition),
            b"model_version": job.version.encode(),
            b"model_sha256": job.sha256.encode(),
        }
    )


def _median(quantiles: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Interpolate the median of each row. (n, levels) in, (n,) out."""
    above = int(np.searchsorted(levels, 0.5))
    share = (0.5 - levels[above - 1]) / (levels[above] - levels[above - 1])
    return quantiles[:, above - 1] * (1 - share) + quantiles[:, above] * share


def _complete_rows(table: pd.DataFrame) -> int:
    """Count the rows before the last series, which may continue in the next piece."""
    if "series_id" not in table:
        return 0
    codes = pd.factorize(table["series_id"])[0]
    return int(np.flatnonzero(np.diff(codes, prepend=-2))[-1])


def _to_panel(table: pd.DataFrame, name: str, first: int, seen: set[str]) -> Panel:
    try:
        panel = to_panel(validate(table, min_days=1))
    except SeriesError as error:
        raise SeriesError(f"{name}, counted from its row {first}: {error}") from error
    if repeated := seen.intersection(panel.ids):
        raise SeriesError(
            f"{name}, from row {first}: series {min(repeated)!r} appears a second time; expected "
            "the rows of each series together. Sort the file by series and day"
        )
    seen.update(panel.ids)
    return panel
