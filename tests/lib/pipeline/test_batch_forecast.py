"""Batch forecasts: pieces of whole series, partitions that appear whole, a run that is killed."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data.covariates import Covariate
from lib.data.panel import SeriesError, take_series
from lib.data.series_tables import to_table
from lib.files import file_hash
from lib.forecasting.fitting import take_pretrained
from lib.inference.artifact import CONTRACT, FILES
from lib.inference.distribution import mean_of_quantiles
from lib.inference.partition_totals import add_partitions
from lib.inference.partitions import (
    Job,
    Partition,
    PartitionForecaster,
    is_finished,
    last_known_rows,
    read_panels,
)
from lib.inference.served_model import ServedModel, forecast_panel
from lib.pipeline import batch_forecast
from lib.settings import ROOT
from tests.panels import TINY_MODEL, lively_panel, panel_of

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install -r deploy/requirements-forecast.txt",
)


def job_of(data, out, **changes):
    model = {name: (TINY_MODEL / name).read_bytes() for name in (*FILES, CONTRACT)}
    sha256 = file_hash(TINY_MODEL / CONTRACT)
    return replace(Job(str(data), str(out), model, sha256, "1", {}, None), **changes)


def write(folder, name, panel):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    to_table(panel).to_parquet(path)
    return Partition.of(folder, name)


def make(job, partition):
    return PartitionForecaster(job)({"name": partition.name, "stamp": partition.stamp})


@pytest.mark.parametrize("rows", [7, 100, 250, 10_000])
def test_pieces_hold_whole_series_whatever_their_size(tmp_path, rows):
    panel = lively_panel(days=100, series=5)
    write(tmp_path, "a.parquet", panel)
    found = list(read_panels(tmp_path / "a.parquet", {}, rows))
    assert [name for piece in found for name in piece.ids] == list(panel.ids)
    np.testing.assert_array_equal(np.concatenate([p.values for p in found]), panel.values)
    assert len(found) > 1 or rows >= 500


def test_pieces_refuse_a_series_in_two_places_of_a_file(tmp_path):
    table = to_table(lively_panel(days=80, series=3))
    order = [*range(80), *range(160, 240), *range(80, 160)]
    table["series_id"] = ["a"] * 80 + ["b"] * 80 + ["a"] * 80
    table.iloc[order].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SeriesError, match=r"'a'|second time"):
        list(read_panels(tmp_path / "a.parquet", {}, 90))


def test_pieces_read_the_files_own_names(tmp_path):
    panel = lively_panel(days=80, series=1)
    table = to_table(panel).rename(columns={"value": "units", "series_id": "shop"})
    table.to_parquet(tmp_path / "a.parquet")
    (found,) = read_panels(tmp_path / "a.parquet", {"value": "units", "series_id": "shop"})
    np.testing.assert_array_equal(found.values, panel.values)
    with pytest.raises(SeriesError, match=r"a\.parquet.*'value'"):
        list(read_panels(tmp_path / "a.parquet", {}))


def test_partition_is_what_the_forecaster_says(tmp_path):
    panel = lively_panel(days=120, series=3)
    partition = write(tmp_path / "in", "deep/a.parquet", panel)
    job = job_of(tmp_path / "in", tmp_path / "out")
    assert make(job, partition) == {"name": "deep/a.parquet", "series": 3, "error": ""}
    found = pq.read_table(tmp_path / "out" / "deep" / "a.parquet").to_pandas()
    expected = forecast_panel(ServedModel.load(TINY_MODEL), panel, panel.offsets[1:] - 1)
    levels = ServedModel.load(TINY_MODEL).contract.quantiles
    for i, level in enumerate(levels):
        got = found[f"quantile_{level:g}"].to_numpy().reshape(expected.shape[:2])
        np.testing.assert_allclose(got, expected[..., i])
    np.testing.assert_allclose(found["prediction"], expected[..., levels.index(0.5)].ravel())
    assert found["date"].iloc[0] == (panel.dates[119] + 1).item()
    assert pq.read_schema(tmp_path / "out" / "deep" / "a.parquet").metadata[b"model_version"]


def test_partition_with_plans_forecasts_from_the_day_it_is_told(tmp_path):
    panel = lively_panel(days=120, series=2)
    origins = panel.offsets[1:] - 1 - 7
    partition = write(tmp_path, "a.parquet", panel)
    day = str(panel.dates[origins[0]])
    make(job_of(tmp_path, tmp_path / "out", as_of=day), partition)
    found = pq.read_table(tmp_path / "out" / "a.parquet").to_pandas()
    expected = forecast_panel(ServedModel.load(TINY_MODEL), panel, origins)
    np.testing.assert_allclose(found[found.columns[-1]], expected[..., -1].ravel())
    with pytest.raises(SeriesError, match="'s0': begins after 2000-01-01"):
        last_known_rows(panel, "2000-01-01")


def test_partition_that_is_refused_leaves_nothing_behind(tmp_path):
    good, bad = lively_panel(days=80, series=1), panel_of(np.full(80, np.inf))
    table = pa.Table.from_pandas(to_table(good))
    endless = pa.Table.from_pandas(to_table(bad).assign(series_id="endless"))
    pq.write_table(pa.concat_tables([table, endless]), tmp_path / "a.parquet")
    job = job_of(tmp_path, tmp_path / "out")
    result = make(job, Partition.of(tmp_path, "a.parquet"))
    assert "a.parquet" in result["error"]
    assert "got inf (80 rows like this)" in result["error"]
    assert list((tmp_path / "out").iterdir()) == []


def test_partition_counts_as_finished_for_its_model_and_input_only(tmp_path):
    partition = write(tmp_path, "a.parquet", lively_panel(days=80, series=1))
    job = job_of(tmp_path, tmp_path / "out")
    assert not is_finished(job, partition)
    make(job, partition)
    assert is_finished(job, partition)
    assert not is_finished(job_of(tmp_path, tmp_path / "out", sha256="other"), partition)
    assert not is_finished(job_of(tmp_path, tmp_path / "out", as_of="2022-03-01"), partition)
    write(tmp_path, "a.parquet", lively_panel(days=81, series=1))
    assert not is_finished(job, Partition.of(tmp_path, "a.parquet"))
    (tmp_path / "out" / "a.parquet").write_bytes(b"PAR1 half of a file")
    assert not is_finished(job, partition)


def test_folder_without_partitions_is_an_error(tmp_path):
    with pytest.raises(batch_forecast.BatchError, match="no Parquet file"):
        batch_forecast.forecast_folder(tmp_path, tmp_path / "out", TINY_MODEL, version="1")


@pytest.mark.parametrize(("data", "out"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "a/../a")])
def test_forecasts_are_not_written_among_the_series(tmp_path, data, out):
    panel = lively_panel(days=80, series=1)
    partition = write(tmp_path / data, "x.parquet", panel)
    with pytest.raises(batch_forecast.BatchError, match="expected one apart"):
        batch_forecast.forecast_folder(tmp_path / data, tmp_path / out, TINY_MODEL, version="1")
    assert Partition.of(tmp_path / data, "x.parquet") == partition


@pytest.mark.slow
@needs_ray
def test_folder_killed_and_started_again_has_no_gap_and_no_duplicate(tmp_path):
    data, out, partitions = tmp_path / "in", tmp_path / "out", 12
    for i in range(partitions):
        panel = lively_panel(days=400, series=120, seed=i)
        table = to_table(panel)
        table["series_id"] = f"p{i}-" + table["series_id"]
        data.mkdir(exist_ok=True)
        table.to_parquet(data / f"part-{i:02d}.parquet")
    command = [
        sys.executable,
        "-m",
        "lib.pipeline.batch_forecast",
        "--data",
        str(data),
        "--out",
        str(out),
    ]
    command += ["--model", str(TINY_MODEL), "--processes", "1"]
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=log)
    end = time.monotonic() + 300
    while not list(out.glob("part-*.parquet")):
        assert first.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGKILL)
    first.wait(30)
    early = {path: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    assert 0 < len(early) < partitions

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in early} == early
    assert sorted(p.name for p in out.iterdir() if p.name != ".lock") == [
        f"part-{i:02d}.parquet" for i in range(partitions)
    ]
    found = pq.read_table(out, columns=["series_id", "date"]).to_pandas()
    horizon = ServedModel.load(TINY_MODEL).contract.horizon
    assert len(found) == len(found.drop_duplicates()) == partitions * 120 * horizon
    assert found["series_id"].nunique() == partitions * 120


@pytest.fixture(scope="module")
def model_with_totals(tmp_path_factory):
    """The pretrained network, with the ranks of five series in two regions."""
    region = Covariate(
        "region", "static", "category", np.repeat([0.0, 0, 1, 1, 1], 200), ("n", "s")
    )
    panel = replace(lively_panel(days=200, series=5), covariates=(region,))
    folder = tmp_path_factory.mktemp("totals") / "model"
    return panel, take_pretrained(panel, folder, horizon=14)


def add_up_in_parts(model_with_totals, folder, by, parts=((0, 1, 2), (3, 4))):
    """Forecast a panel in partitions; return the sum of their totals and the files."""
    panel, model = model_with_totals
    files = {name: (model.folder / name).read_bytes() for name in (*model.contract.files, CONTRACT)}
    job = job_of(folder / "in", folder / "out", model=files, totals=("7", "2-8"), totals_by=by)
    paths = []
    for number, part in enumerate(parts):
        partition = write(folder / "in", f"{number}.parquet", take_series(panel, np.array(part)))
        assert make(job, partition)["error"] == ""
        assert is_finished(job, partition)
        paths.append(job.totals_path(partition))
    found, short = add_partitions(paths, model.contract, job.totals, by)
    assert not short
    return found, paths


@pytest.mark.parametrize("by", ["", "all", "region"])
def test_totals_of_partitions_are_those_of_one_file(model_with_totals, tmp_path, by):
    apart, _ = add_up_in_parts(model_with_totals, tmp_path / "apart", by)
    together, _ = add_up_in_parts(model_with_totals, tmp_path / "one", by, parts=((0, 1, 2, 3, 4),))
    pd.testing.assert_frame_equal(apart, together)
    assert len(apart) == 2 * {"": 5, "all": 1, "region": 2}[by]
    assert apart.groupby("days")["series"].sum().tolist() == [10]
    levels = [name for name in apart if name.startswith("q")]
    assert (np.diff(apart[levels], axis=1) >= 0).all()


def test_mean_of_all_is_the_sum_of_the_means_of_the_same_days(model_with_totals, tmp_path):
    panel, _ = model_with_totals
    add_up_in_parts(model_with_totals, tmp_path, "all")
    everything, _ = add_up_in_parts(model_with_totals, tmp_path, "all")
    assert panel.dates[last_known_rows(panel, None)].min() < panel.dates.max()  # not all end then
    first = everything["first"].iloc[0]
    assert first == (panel.dates.max() + 1).item()
    each = [
        forecast_panel(model_with_totals[1], panel, np.array([origin]))[0]
        for origin in last_known_rows(panel, None)
    ]
    levels = model_with_totals[1].contract.quantiles
    ahead = [
        int((panel.dates.max() - panel.dates[origin]).astype(int))
        for origin in last_known_rows(panel, None)
    ]
    means = [
        mean_of_quantiles(q, levels, floor=0.0)[late : late + 7].sum()
        for q, late in zip(each, ahead, strict=True)
    ]
    assert everything["mean"].iloc[0] == pytest.approx(sum(means), rel=1e-9)


def test_partition_without_its_totals_is_not_finished(model_with_totals, tmp_path):
    _, paths = add_up_in_parts(model_with_totals, tmp_path, "all")
    _, model = model_with_totals
    files = {name: (model.folder / name).read_bytes() for name in (*model.contract.files, CONTRACT)}
    job = job_of(tmp_path / "in", tmp_path / "out", model=files, totals=("7",), totals_by="all")
    partition = Partition.of(tmp_path / "in", "0.parquet")
    assert not is_finished(job, partition)  # other ranges
    job = replace(job, totals=("7", "2-8"))
    assert is_finished(job, partition)
    paths[0].unlink()
    assert not is_finished(job, partition)


@pytest.mark.parametrize(
    ("given", "named"),
    [({"totals": ["99"]}, "the horizon"), ({"totals": ["7"], "totals_by": "town"}, "region")],
)
def test_wrong_totals_are_refused_before_anything_is_forecast(
    model_with_totals, tmp_path, given, named
):
    panel, model = model_with_totals
    write(tmp_path / "in", "a.parquet", panel)
    with pytest.raises(batch_forecast.BatchError, match=named):
        batch_forecast.forecast_folder(
            tmp_path / "in", tmp_path / "out", model.folder, version="1", **given
        )
    assert not list((tmp_path / "out").glob("*.parquet"))
