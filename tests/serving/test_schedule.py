"""The schedule of the monitoring, with real commands and real databases."""

import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from lib.settings import SettingsError, get_settings
from lib.storage.database import Store
from lib.storage.leases import Lease
from serving.schedule import COMMAND, LEASE, Schedule

# Appends an x to a file, then sleeps.
NOTE = "import sys, time; open(sys.argv[1], 'a').write('x'); time.sleep(float(sys.argv[2]))"


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def notes(tmp_path):
    file = tmp_path / "notes"
    file.touch()
    return file


def command(notes, seconds=0.0):
    return [sys.executable, "-c", NOTE, str(notes), str(seconds)]


def next_minute(n=1):
    """Return a minute after the last look."""
    return datetime.now(UTC).replace(second=1) + timedelta(minutes=n)


def ended(schedule):
    schedule._thread.join(30)
    assert not schedule._thread.is_alive()


def wait_for(notes, text):
    until = time.monotonic() + 30
    while notes.read_text() != text and time.monotonic() < until:
        time.sleep(0.02)
    assert notes.read_text() == text


@pytest.mark.parametrize(
    ("cron", "minutes", "count"),
    [
        ("30 5 * * *", 24 * 60, 1),
        ("*/20 * * * *", 60, 3),
        ("0 6-8 * * *", 24 * 60, 3),
        ("0 0 * * 1-5", 7 * 24 * 60, 5),
        ("0 0 1 * *", 31 * 24 * 60, 1),
        ("0 5 1 * 1", 31 * 24 * 60, 6),  # the 1st, a Sunday, and five Mondays
        ("0 0 * * */2", 7 * 24 * 60, 4),
        ("0 0 * * MON", 7 * 24 * 60, 1),
        ("", 24 * 60, 0),
    ],
)
def test_schedule_is_due_at_the_minutes_of_its_line(store, cron, minutes, count):
    schedule = Schedule(cron, store)
    schedule._last_look = start = datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
    looks = [schedule._due(start + timedelta(minutes=n)) for n in range(1, minutes + 1)]
    assert len([due for due in looks if due]) == count
    again = start + timedelta(minutes=minutes)
    assert schedule._due(again) is None  # a minute counts once
    if cron == "30 5 * * *":
        assert [due for due in looks if due] == [datetime(2026, 3, 1, 5, 30, tzinfo=UTC)]


def test_schedule_catches_up_with_minutes_the_worker_was_held_up_in(store):
    schedule = Schedule("30 5 * * *", store)
    schedule._last_look = datetime(2026, 3, 1, 5, 0, tzinfo=UTC)
    assert schedule._due(datetime(2026, 3, 1, 5, 50, tzinfo=UTC)) is not None
    schedule._last_look = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
    assert schedule._due(datetime(2026, 3, 2, 11, 0, tzinfo=UTC)) is None  # hours: tomorrow again


def test_schedule_does_not_wait_for_a_clock_that_was_set_back(store):
    schedule = Schedule("30 5 * * *", store)
    schedule._last_look = datetime(2027, 3, 1, 5, 0, tzinfo=UTC)
    assert schedule._due(datetime(2026, 3, 1, 5, 29, tzinfo=UTC)) is None
    assert schedule._due(datetime(2026, 3, 1, 5, 30, tzinfo=UTC)) is not None
    # By minutes: what was done is not done again.
    assert schedule._due(datetime(2026, 3, 1, 5, 20, tzinfo=UTC)) is None
    assert schedule._due(datetime(2026, 3, 1, 5, 30, tzinfo=UTC)) is None


def test_schedule_runs_its_command_once_a_minute(store, notes):
    schedule = Schedule("* * * * *", store, command(notes))
    now = next_minute()
    assert not schedule.beat(datetime.now(UTC) - timedelta(minutes=1))
    assert schedule.beat(now)
    assert not schedule.beat(now + timedelta(seconds=3))
    ended(schedule)
    assert notes.read_text() == "x"


def test_schedule_of_two_workers_runs_once(store, notes):
    workers = [Schedule("* * * * *", store, command(notes)) for _ in range(2)]
    # Of a minute that has begun: what was taken since then is done.
    for schedule in workers:
        schedule._last_look -= timedelta(minutes=2)
    now = datetime.now(UTC)
    for schedule in workers:
        schedule.beat(now)
        ended(schedule)  # one after the other: a free lease is not enough
    assert notes.read_text() == "x"


def test_schedule_leaves_out_a_minute_while_its_command_runs(store, notes):
    schedule = Schedule("* * * * *", store, command(notes, 60))
    assert schedule.beat(next_minute(1))
    wait_for(notes, "x")
    assert not schedule.beat(next_minute(2))
    schedule.stop()  # and it ends what runs
    ended(schedule)
    assert notes.read_text() == "x"
    lease = Lease(store, LEASE)
    assert lease.acquire()
    lease.release()


def test_schedule_leaves_out_a_minute_while_another_host_runs(store, notes):
    lease = Lease(store, LEASE)
    assert lease.acquire()
    schedule = Schedule("* * * * *", store, command(notes))
    assert schedule.beat(next_minute())
    ended(schedule)
    assert notes.read_text() == ""
    lease.release()


def test_schedule_goes_on_after_a_command_that_fails(store, notes):
    schedule = Schedule("* * * * *", store, [sys.executable, "-c", "raise SystemExit(2)"])
    schedule.beat(next_minute(1))
    ended(schedule)
    schedule.command = tuple(command(notes))
    with store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM leases")  # the clock did not really move
    schedule.beat(next_minute(2))
    ended(schedule)
    assert notes.read_text() == "x"


def test_schedule_without_a_database_runs_nothing(tmp_path, notes):
    away = Store(f"sqlite:///{tmp_path}/none/state.db")
    schedule = Schedule("* * * * *", away, command(notes))
    assert schedule.beat(next_minute())
    ended(schedule)
    assert notes.read_text() == ""


def test_schedule_runs_the_monitoring_by_default(store):
    assert Schedule("", store).command == COMMAND
    assert COMMAND[1:] == ("-m", "lib.pipeline.check")


@pytest.mark.parametrize("cron", ["61 * * * *", "* 5-25 * * *", "99 99 * * *"])
def test_schedule_refuses_a_line_that_is_not_cron(store, cron):
    with pytest.raises(SettingsError, match="MONITOR_CRON: "):
        Schedule(cron, store)


@pytest.mark.parametrize(
    "cron",
    ["* * * *", "@daily", "* * * * moon", "5;6 * * * *", "99 99 * * *", "0 0 30 2 *", "* " * 6],
)
def test_settings_refuse_a_line_that_is_not_cron(cron, monkeypatch):
    monkeypatch.setenv("MONITOR_CRON", cron)
    with pytest.raises(SettingsError, match="MONITOR_CRON: expected minute, hour, day"):
        get_settings(None)
