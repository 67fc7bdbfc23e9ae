"""Two hosts on one study: network namespaces with a name of their own, joined by a bridge."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from lib.data.series_tables import to_table
from lib.settings import ROOT
from lib.tuning import search_space, study
from tests import services
from tests.lib.tuning.test_tuning import QUICK, SMALL
from tests.panels import lively_panel, split_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    # A trial is begun by hand here.
    pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed:UserWarning"),
]

# Of the block that is for measurements between networks, which no machine is in otherwise; by the
# number of this process, so that two runs on one machine have networks of their own.
SERVER, MASK = f"198.{18 + os.getpid() // 256 % 2}.{os.getpid() % 256}.1", 24
TRIALS = 8
GRACE_SECONDS = 40  # instead of two minutes; workers send a heartbeat each 15 s
SCRIPT = f"""
import socket, sys
from pathlib import Path
from lib.tuning import study
from lib.tuning.search import tune
from lib.tuning.search_space import Job
study.GRACE_SECONDS = {GRACE_SECONDS}
socket.sethostname(sys.argv[2])
tune(Job.read(Path(sys.argv[1])), workers=2, progress=False)
"""


class Host:
    """A network namespace at one end of a cable; the other end is at the bridge."""

    def __init__(self, name, bridge):
        self.name = name
        self.space = f"{bridge}-{name}"
        self.cable = f"{bridge}{name}"
        self.started = []
        ip("netns", "add", self.space)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("link", "set", self.cable, "master", bridge, "up")

    def join(self, address):
        self.inside("ip", "address", "add", f"{address}/{MASK}", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")
        # After a cut it tries again soon and as long as ever (an older kernel: within two minutes).
        with contextlib.suppress(subprocess.CalledProcessError):
            self.inside("sysctl", "-q", "-w", "net.ipv4.tcp_rto_max_ms=2000")
            self.inside("sysctl", "-q", "-w", "net.ipv4.tcp_retries2=255")

    def inside(self, *command):
        subprocess.run(
            ["ip", "netns", "exec", self.space, *command],
            check=True,
            capture_output=True,
            text=True,
        )

    def start(self, *command, log):
        inside = ["ip", "netns", "exec", self.space, "unshare", "--uts", *command]
        with log.open("w") as file:
            self.started.append(subprocess.Popen(inside, cwd=ROOT, stdout=file, stderr=file))
        return self.started[-1]

    def cut_off(self):
        ip("link", "set", self.cable, "down")

    def connect(self):
        ip("link", "set", self.cable, "up")

    def processes(self):
        return [int(pid) for pid in ip("netns", "pids", self.space).split()]

    def remove(self):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(20)
        ip("netns", "del", self.space)  # its end of the cable goes with it, and so the other


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def hosts():
    """Two hosts that reach this machine, and each other, at SERVER's network."""
    missing = [name for name in ("ip", "unshare") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no network namespaces without {', '.join(missing)} (Debian: iproute2)")
    if os.geteuid() != 0:
        pytest.skip("no network namespaces without root")
    bridge = f"h{os.getpid()}"
    try:
        ip("link", "add", bridge, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine's root may not make a bridge: {error.stderr.strip()}")
    with contextlib.ExitStack() as stack:
        stack.callback(ip, "link", "del", bridge)
        ip("address", "add", f"{SERVER}/{MASK}", "dev", bridge)
        ip("link", "set", bridge, "up")
        found = []
        for number, name in enumerate(("one", "two")):
            found.append(Host(name, bridge))
            stack.callback(found[-1].remove)
            try:
                found[-1].join(f"{SERVER[:-1]}{10 + number}")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no program runs in a namespace here: {error.stderr.strip()}")
        yield found


@pytest.fixture
def job(hosts, tmp_path):
    """A search whose study is on a server that both hosts reach."""
    panel = lively_panel(days=300, series=1)
    series = tmp_path / "series.parquet"
    to_table(panel).to_parquet(series)
    with services.postgresql(SERVER) as server:
        made = search_space.plan(
            series, panel, split_of(panel), SMALL, QUICK,
            trials=TRIALS, trial_steps=60, storage=f"{server}postgres",
        )  # fmt: skip
        made.write(tmp_path / "job.json")
        yield made


@pytest.fixture
def found(job):
    """The study as it is seen from here, whatever cable is cut."""
    with closing(study.open_study(job)) as found:
        yield found


@contextlib.contextmanager
def closing(found):
    yield found
    found._storage._backend.engine.dispose()


def trials_of(found, host, *states):
    trials = found.get_trials(deepcopy=False, states=states or None)
    return [t for t in trials if t.user_attrs.get("worker", [""])[0] == host]


def stop_in_the_middle(found, host):
    """Stop the two workers of a host, each in the middle of a trial, and return these trials."""
    stopped, end = {}, time.monotonic() + 300
    while len(stopped) < 2:
        assert time.monotonic() < end, [t.intermediate_values for t in trials_of(found, host)]
        for trial in trials_of(found, host, TrialState.RUNNING):
            if trial.number in stopped or not trial.intermediate_values:
                continue
            os.kill(pid_of(trial), signal.SIGSTOP)
            if found.get_trials()[trial.number].state == TrialState.RUNNING:
                stopped[trial.number] = trial
            else:
                os.kill(pid_of(trial), signal.SIGCONT)
    return list(stopped.values())


def pid_of(trial):
    return trial.user_attrs["worker"][1]


def until(reached, process, log, seconds):
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() in (None, 0), log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def test_study_is_completed_by_the_host_that_is_left(hosts, found, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "job.json")]
    logs = {host.name: tmp_path / host.name for host in hosts}
    running = {h.name: h.start(*command, h.name, log=logs[h.name]) for h in hosts}
    one = hosts[0]

    lost = stop_in_the_middle(found, "one")
    until(lambda: study.finished_trials(found), running["two"], logs["two"], 300)
    one.cut_off()
    for trial in lost:
        os.kill(pid_of(trial), signal.SIGCONT)
    before = [t.number for t in study.finished_trials(found)]
    assert len(before) < TRIALS
    alive = one.processes()
    assert len(alive) == 3

    until(lambda: running["two"].poll() is not None, running["two"], logs["two"], 400)
    assert one.processes() == alive, logs["one"].read_text()  # cut off, not killed
    done = [t.number for t in study.finished_trials(found)]
    assert len(done) == TRIALS
    assert set(before) < set(done)
    later = [found.trials[number] for number in done if number not in before]
    assert {trial.user_attrs["worker"][0] for trial in later} == {"two"}
    # A retry stands for the trial that was lost: nothing is counted under two numbers.
    assert (
        len({t.user_attrs.get("retry_of", t.number) for t in study.finished_trials(found)})
        == TRIALS
    )
    for trial in lost:
        assert found.trials[trial.number].state == TrialState.FAIL
        (retry,) = [t for t in found.trials if t.user_attrs.get("retry_of") == trial.number]
        assert (retry.params, retry.number in done) == (trial.params, True)
    defaults = [t for t in found.trials if t.user_attrs.get("default") and t.number in done]
    assert len(defaults) == 1

    one.connect()
    until(lambda: running["one"].poll() is not None, running["one"], logs["one"], 400)
    assert running["one"].returncode == 0
    assert one.processes() == []
    assert [t.number for t in study.finished_trials(found)] == done
    states = Counter(t.state for t in found.trials)
    assert not states[TrialState.RUNNING] + states[TrialState.WAITING]


def test_host_cut_off_in_a_transaction_does_not_hold_the_study(postgresql_url, monkeypatch):
    monkeypatch.setattr(study, "OPEN_SECONDS", 1)
    job = search_space.Job("", ("", "", ""), {}, {}, postgresql_url, "held", 1, 6)
    with closing(study.open_study(job)) as found, closing(study.open_study(job)) as cut_off:
        # As a worker that numbers its trial: the next worker waits for the lock.
        session = cut_off._storage._backend.scoped_session()
        session.execute(sa.text("SELECT * FROM studies FOR UPDATE"))
        assert found.ask().number == 0
        with pytest.raises(optuna.exceptions.StorageInternalError):
            cut_off._storage._backend.get_n_trials(cut_off._study_id)
        assert len(study.finished_trials(cut_off)) == 0  # connected anew
