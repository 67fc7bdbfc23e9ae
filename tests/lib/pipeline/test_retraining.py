"""Retraining: its data, one at a time, and what remains after a kill."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from lib.data import loading, series_tables
from lib.data.panel import SeriesError
from lib.features.engineering import FEATURES
from lib.pipeline import retraining
from lib.pipeline.retraining import LEASE, retrain
from lib.pipeline.retraining_data import (
    RetrainingError,
    gather_data,
    held_out,
    retraining_parameters,
)
from lib.settings import ROOT, get_settings
from lib.storage.database import Store, utcnow
from lib.storage.leases import Lease, held
from lib.storage.tables import actuals, checks, predictions

TOY = [sys.executable, str(ROOT / "tests" / "lib" / "pipeline" / "toy_pipeline.py")]
FIRST = date(2026, 1, 1)


@pytest.fixture
def settings(tmp_path, database_url):
    frame(days=100).to_csv(tmp_path / "data.csv", index=False)
    places = {
        "var_dir": tmp_path / "var",
        "database_url": database_url,
        "retrain_data": str(tmp_path / "data.csv"),
        "retrain_profile": "ci",
    }
    (tmp_path / "var").mkdir()
    return get_settings(None).model_copy(update=places)


@pytest.fixture
def store(settings):
    store = Store(settings.database_url)
    yield store
    store.close()


def frame(days, start=FIRST, name="shop 1"):
    dates = pd.date_range(start, periods=days, freq="D")
    values = 100 + np.arange(days) % 7
    return pd.DataFrame({"series_id": name, "date": dates.strftime("%Y-%m-%d"), "value": values})


def insert_actuals(store, *values):
    """Actuals, as (series, day counted from FIRST, value)."""
    at = {"created_at": utcnow(), "updated_at": utcnow()}
    rows = [
        {"key": f"day {n} {name}", "series_id": name, "date": day(n), "value": value} | at
        for name, n, value in values
    ]
    with store.writing() as connection:
        connection.execute(actuals.insert(), rows)


def day(n):
    return FIRST + timedelta(days=n)


def row_of(table, n, name="shop 1"):
    (found,) = table[(table["series_id"] == name) & (table["date"].dt.date == day(n))].to_dict(
        "records"
    )
    return found


def checks_of(store):
    with store.reading() as connection:
        return connection.execute(sa.select(checks).order_by(checks.c.id)).all()


def test_gather_appends_actuals_of_days_the_data_does_not_have(store, settings):
    insert_actuals(store, ("shop 1", 100, 1.0), ("shop 1", 103, 4.0), ("shop 1", 50, 9999.0))
    table, added = gather_data(store, settings)
    assert (len(table), added) == (104, 2)
    assert [row_of(table, n)["value"] for n in (100, 103)] == [1.0, 4.0]
    assert np.isnan(row_of(table, 102)["value"])
    assert row_of(table, 50)["value"] == 100 + 50 % 7  # where both know it, the data counts
    series_tables.to_panel(table)


def test_gather_fills_days_that_the_data_has_without_a_value(store, settings, tmp_path):
    data = frame(days=100).assign(fator_externo=5.0, evento_especial=0.5)
    data.loc[[40, 99], "value"] = np.nan
    data.to_csv(tmp_path / "data.csv", index=False)
    insert_actuals(store, ("shop 1", 40, 1.0), ("shop 1", 99, 2.0))
    table, added = gather_data(store, settings)
    assert (len(table), added) == (100, 2)
    found = row_of(table, 99)
    assert (found["value"], found["fator_externo"], found["evento_especial"]) == (2.0, 5.0, 0.5)
    assert row_of(table, 40)["value"] == 1.0


def test_gather_takes_factor_and_event_from_the_forecasts_of_the_day(store, settings):
    insert_actuals(store, ("shop 1", 100, 1.0), ("shop 1", 101, 2.0))
    features = [0.0] * 11
    features[FEATURES.index("fator_externo")] = 7.5
    unknown = [*features[:-1], None]
    assert FEATURES[-1] == "evento_especial"
    made = {
        "created_at": utcnow(),
        "model_version": 1,
        "levels": [],
        "quantiles": [],
        "series_id": "shop 1",
    }
    with store.writing() as connection:
        for n, last in ((100, unknown), (101, features)):
            row = {"trace_id": str(n), "first_date": day(n + 1), "features": last}
            connection.execute(predictions.insert(), [made | row])
    table, _ = gather_data(store, settings)
    first, second = row_of(table, 100), row_of(table, 101)
    assert (first["fator_externo"], second["fator_externo"]) == (7.5, 7.5)
    assert np.isnan(first["evento_especial"])
    assert second["evento_especial"] == 0.0


def test_gather_leaves_out_actuals_that_are_no_part_of_it(store, settings):
    values = [("shop 1", -5, 1.0), ("shop 1", 100 + 365, 1.0)]  # before it begins; a typing error
    values += [("short", n, 1.0) for n in range(30)] + [("long", n, float(n)) for n in range(70)]
    insert_actuals(store, *values)
    with store.writing() as connection:  # the actual of a /predict has no day
        at = {"created_at": utcnow(), "updated_at": utcnow()}
        connection.execute(actuals.insert().values(key="trace t", trace_id="t", value=1.0, **at))
    _, added = gather_data(store, settings)
    assert added == 0  # the model knows neither series
    anyone = settings.model_copy(update={"retrain_unknown_series": True})
    table, added = gather_data(store, anyone)
    assert added == 70
    assert table.groupby("series_id")["date"].count().to_dict() == {"shop 1": 100, "long": 70}


def test_gather_learns_no_implausible_actual(store, settings):
    huge = [("never forecast", n, 1e305) for n in range(130)]
    insert_actuals(store, ("shop 1", 100, 1e308), ("shop 1", 101, 3.0), *huge)
    for takes_unknown in (False, True):
        change = {"retrain_unknown_series": takes_unknown}
        table, added = gather_data(store, settings.model_copy(update=change))
        assert added == 1
        assert table["value"].abs().max() < 200
        assert set(table["series_id"]) == {"shop 1"}


def test_gather_takes_what_a_person_has_released(store, settings):
    insert_actuals(store, ("shop 1", 100, 50_000.0), ("shop 1", 101, 3.0))
    assert gather_data(store, settings)[1] == 1
    with store.writing() as connection:
        connection.execute(actuals.update().values(quality="released"))
    assert gather_data(store, settings)[1] == 2


def test_gather_reads_all_files_of_a_pattern(store, settings, tmp_path):
    frame(days=60).to_csv(tmp_path / "part-1.csv", index=False)
    later = frame(days=60, start=day(50)).assign(value=7.0)
    later.to_csv(tmp_path / "part-2.csv", index=False)
    pattern = settings.model_copy(update={"retrain_data": str(tmp_path / "part-*.csv")})
    table, added = gather_data(store, pattern)
    assert (len(table), added) == (110, 0)
    assert row_of(table, 55)["value"] == 7.0  # the later file
    assert row_of(table, 49)["value"] == 100 + 49 % 7


def test_gather_reads_other_column_names_and_spelling(store, settings, tmp_path):
    text = "loja;dia;vendas\n" + "".join(f"a;{day(n):%d/%m/%Y};{n},5\n" for n in range(90))
    (tmp_path / "own.csv").write_text(text)
    words = "SERIES_COLUMN=loja DATE_COLUMN=dia VALUE_COLUMN=vendas COUNTRY=BR HORIZON=7"
    own = settings.model_copy(
        update={"retrain_data": str(tmp_path / "own.csv"), "retrain_parameters": words}
    )
    insert_actuals(store, ("a", 90, 1.0))
    table, added = gather_data(store, own)
    assert (len(table), added) == (91, 1)
    assert row_of(table, 3, "a")["value"] == 3.5
    assert row_of(table, 0, "a")["evento_especial"] == 1.0  # New Year
    assert row_of(table, 90, "a")["evento_especial"] == 0.0
    assert retraining_parameters(own)[1] == {"HORIZON": "7"}


def test_gather_reads_a_query(store, settings):
    engine = sa.create_engine(settings.database_url)
    with engine.begin() as connection:
        sales = frame(days=80).rename(columns={"series_id": "loja", "value": "vendas"})
        connection.execute(
            sa.text("CREATE TABLE sales (loja VARCHAR(20), date DATE, vendas NUMERIC(9, 2))")
        )
        connection.execute(
            sa.text("INSERT INTO sales VALUES (:loja, :date, :vendas)"),
            sales.to_dict("records"),
        )
    engine.dispose()
    query = "SELECT date, vendas, loja FROM sales WHERE loja LIKE '%shop%' ORDER BY vendas"
    own = settings.model_copy(
        update={
            "retrain_data": query,
            "retrain_parameters": "VALUE_COLUMN=vendas SERIES_COLUMN=loja",
        }
    )
    insert_actuals(store, ("shop 1", 80, 1.0))
    table, added = gather_data(store, own)
    assert (len(table), added) == (81, 1)
    assert row_of(table, 10)["value"] == 103.0


def with_covariates(table):
    number = np.arange(len(table))
    return table.assign(code=1 + number % 3, region="south", price=number / 8)


def test_gather_keeps_covariates_of_files_and_fills_statics_and_holidays(store, settings, tmp_path):
    with_covariates(frame(days=60)).to_csv(tmp_path / "part-1.csv", index=False)
    last = with_covariates(frame(days=6, start=day(60))).assign(code=2)  # by itself, a number
    last.to_csv(tmp_path / "part-2.csv", index=False)
    words = "COVARIATES=code,price STATIC_COVARIATES=region COUNTRY=BR STATE=SP"
    own = settings.model_copy(
        update={"retrain_data": str(tmp_path / "part-*.csv"), "retrain_parameters": words}
    )
    insert_actuals(store, ("shop 1", 66, 1.0))
    table, added = gather_data(store, own)
    assert added == 1
    assert row_of(table, 65)["known:category:code"] == "2"
    new = row_of(table, 66)
    assert np.isnan(new["known:number:price"])
    assert new["static:category:region"] == "south"
    assert table["known:holiday:holiday:BR:SP"].notna().all()
    assert row_of(table, 0)["known:holiday:holiday:BR:SP"] != ""  # New Year
    assert retraining_parameters(own)[1] == {}


def test_covariates_as_a_switch_is_a_parameter_of_the_pipeline(settings):
    own = settings.model_copy(update={"retrain_parameters": "COVARIATES=0 STATE=SP"})
    assert retraining_parameters(own) == ({"STATE": "SP"}, {"COVARIATES": "0"})


def test_gather_reads_covariates_of_a_query(store, settings):
    engine = sa.create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE offers (date DATE, value FLOAT, price FLOAT)"))
        connection.execute(
            sa.text("INSERT INTO offers VALUES (:date, :value, :price)"),
            with_covariates(frame(days=80))[["date", "value", "price"]].to_dict("records"),
        )
    engine.dispose()
    own = settings.model_copy(
        update={"retrain_data": "SELECT * FROM offers", "retrain_parameters": "COVARIATES=price"}
    )
    table, _ = gather_data(store, own)
    assert table["known:number:price"].tolist()[:3] == [0.0, 0.125, 0.25]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"retrain_data": ""}, RetrainingError, "RETRAIN_DATA: expected a CSV or Parquet file"),
        ({"retrain_data": "none/*.csv"}, RetrainingError, "there is no file .*none"),
        ({"retrain_data": "SELECT x FROM nothing"}, RetrainingError, "does not answer the query"),
        ({"retrain_data": "SELECT 1 AS x"}, SeriesError, "there is no column 'date'"),
        ({"retrain_parameters": "HORIZON"}, RetrainingError, "got 'HORIZON', expected NAME=value"),
        ({"retrain_parameters": "DATA=x.csv"}, RetrainingError, "is named by RETRAIN_DATA"),
        ({"retrain_parameters": "FUTURE=x.csv"}, RetrainingError, "FUTURE is for `make train`"),
        ({"retrain_parameters": "A='x"}, RetrainingError, "RETRAIN_PARAMETERS: No closing"),
        ({"retrain_parameters": "VALUE_COLUMN=x"}, SeriesError, "there is no column 'x'"),
    ],
)
def test_retrain_names_what_is_wrong_with_its_data(store, settings, changes, error, message):
    wrong = settings.model_copy(update=changes)
    with pytest.raises(error, match=message):
        gather_data(store, wrong)
    done = retrain(store, wrong, pipeline=TOY)
    assert done.status == "failed"
    assert [row.status for row in checks_of(store)] == ["failed"]


@pytest.mark.parametrize(
    ("given", "days"),
    [
        ("", 28 + 2 * 28 + 56),  # of the notebooks themselves: validation is two horizons at least
        ("HORIZON=7 CUTOFFS=4 STEP=1 VALIDATION_DAYS=7", 7 + 3 + 7),
    ],
)
def test_held_out_are_the_days_of_validation_and_backtest(settings, given, days):
    assert held_out(settings.model_copy(update={"retrain_parameters": given})) == days


def test_held_out_names_a_parameter_that_is_unknown(settings):
    wrong = settings.model_copy(update={"retrain_parameters": "CUTOFS=2"})
    with pytest.raises(RetrainingError, match=r"RETRAIN_PARAMETERS: .*CUTOFS"):
        held_out(wrong)


def test_retrain_reports_the_last_day_that_has_a_value(store, settings, tmp_path):
    planned = frame(days=100).assign(evento_especial=0.0)
    planned.loc[90:, "value"] = np.nan
    planned.to_csv(tmp_path / "data.csv", index=False)
    assert retrain(store, settings, pipeline=TOY).until == str(day(89))


def test_retrain_trains_on_the_data_up_to_today_and_keeps_the_result(store, settings):
    insert_actuals(store, ("shop 1", 100, 1.0))
    done = retrain(store, settings.model_copy(update={"retrain_parameters": "N=3"}), pipeline=TOY)
    assert (done.status, done.version, done.promoted) == ("trained", 1, True)
    assert (done.reason, done.rows, done.added) == ("is better", 101, 1)
    given = json.loads((settings.var_dir / "toy" / "given.json").read_text())
    assert given["N"] == "3"
    table = loading.load(given["DATA"], series_column=given["SERIES_COLUMN"])
    assert len(table) == 101
    (row,) = checks_of(store)
    assert (row.kind, row.status, row.model_version) == ("retraining", "trained", 1)
    assert (row.result["added"], row.result["reason"]) == (1, "is better")
    assert row.made_at <= datetime.now(UTC)


def test_retrain_with_the_same_data_is_unchanged_and_with_more_is_new(store, settings):
    assert retrain(store, settings, pipeline=TOY).status == "trained"
    assert retrain(store, settings, pipeline=TOY).status == "unchanged"
    insert_actuals(store, ("shop 1", 100, 1.0))
    again = retrain(store, settings, pipeline=TOY)
    assert (again.status, again.version) == ("trained", 2)


def test_retrain_reports_the_error_of_the_pipeline(store, settings):
    failing = settings.model_copy(update={"retrain_parameters": "'FAIL=no memory'"})
    done = retrain(store, failing, pipeline=TOY)
    assert done.status == "failed"
    expected = "the pipeline ended with 1: error: stage 03_training: no memory\nRun it again"
    assert done.reason == expected
    assert retrain(store, settings, pipeline=TOY).status == "trained"


def test_retrain_is_busy_while_another_process_has_the_lease(store, settings):
    lease = Lease(store, LEASE)
    assert lease.acquire()
    assert retrain(store, settings, pipeline=TOY).status == "busy"
    assert checks_of(store) == []
    lease.release()
    assert retrain(store, settings, pipeline=TOY).status == "trained"


def test_retrain_at_once_is_done_by_one(store, settings):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(retrain(store, settings, pipeline=TOY)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done.status for done in found) == ["busy"] * 3 + ["trained"]
    assert not (settings.var_dir / "toy" / "overlap").exists()


def test_retrain_stops_when_its_lease_is_lost(store, settings, monkeypatch):
    monkeypatch.setenv("TOY_SECONDS", "30")
    leases, done = [], []

    @contextmanager
    def remembered(*args):
        with held(*args) as lease:
            leases.append(lease)
            yield lease

    monkeypatch.setattr(retraining, "held", remembered)
    run = threading.Thread(target=lambda: done.append(retrain(store, settings, pipeline=TOY)))
    run.start()
    until = time.monotonic() + 30
    while not (settings.var_dir / "toy" / "given.json").exists() and time.monotonic() < until:
        time.sleep(0.05)
    leases[0].lost.set()
    run.join(30)
    assert done[0].status == "failed"
    assert done[0].reason == "the lease was lost with the connection to the database"


def test_retrain_keeps_a_few_run_folders(store, settings):
    for n in range(7):
        settings = settings.model_copy(update={"retrain_parameters": f"N={n}"})
        retrain(store, settings, pipeline=[*TOY[:1], "-c", QUICK])
    assert len(list((settings.var_dir / "runs").iterdir())) == 5


def test_retrainings_that_fail_fill_no_disk_and_push_out_no_run_that_registered(store, settings):
    for n in range(9):
        settings = settings.model_copy(update={"retrain_parameters": f"N={n}"})
        done = retrain(store, settings, pipeline=[*TOY[:1], "-c", QUICK if n < 2 else "exit(1)"])
        assert done.status != "failed" or n >= 2
    runs = list((settings.var_dir / "runs").iterdir())
    assert len(runs) == 2 + 5
    assert sum((run / "mlflow.json").is_file() for run in runs) == 2


QUICK = """
import json, pathlib, sys
run = pathlib.Path(sys.argv[sys.argv.index("--run-dir") + 1])
(run / "mlflow.json").write_text(json.dumps({"version": 1, "promoted": False, "reason": ""}))
"""

CYCLE = """
import sys
from lib.log import configure_logging
from lib.pipeline import retrain
from lib.settings import get_settings
from lib.storage import Store
configure_logging("WARNING")
settings = get_settings(None)
done = retrain(Store(settings.database_url, busy_seconds=30), settings, pipeline=sys.argv[1:])
print(done.status, done.version)
"""


def cycle(settings, *pipeline):
    names = ("var_dir", "database_url", "retrain_data", "retrain_profile", "mlflow_tracking_uri")
    names += ("mlflow_artifact_root", "optuna_storage", "retrain_parameters")
    given = {name.upper(): str(getattr(settings, name)) for name in names}
    return subprocess.Popen(
        [sys.executable, "-c", CYCLE, *pipeline],
        cwd=ROOT,
        env=os.environ | given,
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(process, seconds):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0
    return output.split()


@pytest.mark.slow
def test_retrain_killed_at_ten_points_is_consistent_and_the_next_completes(store, settings):
    home = settings.var_dir / "toy"
    began = time.monotonic()
    assert finished(cycle(settings, *TOY), 120) == ["trained", "1"]
    whole = time.monotonic() - began
    choose = random.Random(0)
    for n in range(10):
        insert_actuals(store, ("shop 1", 100 + n, float(n)))
        process = cycle(settings, *TOY)
        time.sleep(whole * (n + choose.random()) / 10)  # from beginning to end
        process.kill()
        process.communicate()
        # What is in production is a version that is whole.
        production = json.loads((home / "production.json").read_text())
        assert json.loads((home / f"version-{production}.json").read_text())
        status, version = finished(cycle(settings, *TOY), 120)
        assert status in ("trained", "unchanged")  # it may have ended just before
        assert json.loads((home / "production.json").read_text()) == int(version)
    assert not (home / "overlap").exists()
    table, added = gather_data(store, settings)
    assert (len(table), added) == (110, 10)
    assert {row.status for row in checks_of(store)} <= {"trained", "unchanged"}
    lease = Lease(store, LEASE)
    assert lease.acquire()
    lease.release()


@pytest.mark.slow
@pytest.mark.filterwarnings(  # of MLflow's own code, not ours
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
    "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
)
def test_retrain_by_the_real_pipeline_killed_and_completed(store, settings, tmp_path):
    """The committed CI profile: registered in MLflow, gated, and fetched again."""
    from lib.registry.registry import Registry
    from lib.registry.versions import PRODUCTION

    rng = np.random.default_rng(0)
    data = frame(days=500, start=date(2024, 1, 1))
    data["value"] = data["value"] + rng.normal(0, 0.5, len(data))
    data.to_csv(tmp_path / "data.csv", index=False)
    own = settings.model_copy(
        update={
            "mlflow_tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
            "mlflow_artifact_root": str(tmp_path / "mlartifacts"),
            "optuna_storage": f"sqlite:///{tmp_path}/optuna.db",
            "retrain_parameters": "CUTOFFS=2",
        }
    )
    pipeline = [sys.executable, "-m", "lib.pipeline"]
    choose = random.Random(1)
    for _ in range(3):
        process = cycle(own, *pipeline)
        time.sleep(choose.uniform(10, 45))
        process.kill()
        process.communicate()
    status, version = finished(cycle(own, *pipeline), 580)
    assert status in ("trained", "unchanged")  # a fast machine ends before the last kill
    registry = Registry(own)
    production = registry.version_of(PRODUCTION)
    if production is not None:
        registry.fetch(production, tmp_path / "fetched")
    (decided,) = [v for v in registry.show()["versions"] if v["version"] == int(version)]
    assert decided["decision"] in ("promoted", "kept in staging")
    assert [row.status for row in checks_of(store)].count("trained") == 1
    assert {row.status for row in checks_of(store)} <= {"trained", "unchanged"}
