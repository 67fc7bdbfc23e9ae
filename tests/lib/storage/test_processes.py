"""Real child processes, whose parents end as they should or not."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.locks import locked
from lib.settings import ROOT
from lib.storage import processes
from lib.storage.processes import is_dead, process_name

# Writes its number and that of its child, then sleeps; ignores SIGTERM if its argument is deaf.
SLEEPER = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {child.pid}\\n")
time.sleep(60)
"""
PARENT = """
import sys
from lib.storage import processes
processes.GRACE = 0.5
processes.run([sys.executable, "-c", *sys.argv[1:]])
"""


def numbers(file, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return [int(number) for number in text.split()]
        time.sleep(0.02)
    pytest.fail(f"nothing in {file}")


def lives(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def gone(pids, seconds=30):
    until = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(lives, pids))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ],
)
def test_run_gives_the_exit_code(code, expected):
    assert processes.run([sys.executable, "-c", code]) == expected


def test_run_of_a_command_that_does_not_exist_is_127(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        assert processes.run(["no-such-command"], output=log) == 127
    log = (tmp_path / "log").read_text()
    assert log == "error: cannot run no-such-command: No such file or directory\n"


def test_run_gives_environment_folder_and_output(tmp_path):
    code = "import os, sys; print(os.environ['X'], os.getcwd()); sys.stderr.write('and this')"
    with (tmp_path / "log").open("wb") as log:
        assert processes.run([sys.executable, "-c", code], output=log, environment={"X": "1"}) == 0
    lines = (tmp_path / "log").read_text().split("\n")
    assert sorted(lines) == sorted([f"1 {Path.cwd()}", "and this"])


def test_run_works_in_any_folder_and_without_the_package(tmp_path, monkeypatch):
    """As from an installed wheel: neither the folder nor PYTHONPATH leads to the sources."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert processes.run([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_guard_is_a_module_with_a_command_line():
    command = [sys.executable, "-m", "lib.storage.processes", sys.executable, "-c", "exit(4)"]
    guard = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
    assert guard.wait(30) == 4
    assert guard.stdin is not None
    guard.stdin.close()


def test_run_holds_its_lock_while_the_command_runs(tmp_path):
    code = "import sys; from lib.locks import locked\nwith locked(Path(sys.argv[1]), timeout=0): 1"
    code = "from pathlib import Path\n" + code
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with (tmp_path / "log").open("wb") as log:
        assert processes.run(command, output=log, lock=tmp_path / "lock") == 1
    assert "Timeout" in (tmp_path / "log").read_text()
    assert processes.run(command) == 0


def test_run_gives_up_on_a_lock_that_stays_held(tmp_path, monkeypatch):
    guard = Path(processes.__file__).read_text().replace("GRACE = 5.0", "GRACE = 0.1")
    (tmp_path / "guard.py").write_text(guard)
    monkeypatch.setattr(processes, "__file__", str(tmp_path / "guard.py"))
    with locked(tmp_path / "lock"), (tmp_path / "log").open("wb") as log:
        code = processes.run([sys.executable, "-c", ""], output=log, lock=tmp_path / "lock")
    assert code == 75
    assert "lock is held by an earlier process" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("deaf", [(), ("deaf",)])
def test_run_ends_all_processes_on_stop(tmp_path, monkeypatch, deaf):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    file, stop, codes = tmp_path / "pids", threading.Event(), []
    command = [sys.executable, "-c", SLEEPER, str(file), *deaf]
    thread = threading.Thread(target=lambda: codes.append(processes.run(command, stop=[stop])))
    thread.start()
    pids = numbers(file)
    stop.set()
    thread.join(60)
    assert codes[0] != 0
    assert gone(pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_ends_with_its_parent_however_that_ended(tmp_path, number):
    file = tmp_path / "pids"
    command = [sys.executable, "-c", PARENT, SLEEPER, str(file)]
    parent = subprocess.Popen(command, cwd=ROOT)
    pids = numbers(file)
    assert all(map(lives, pids))
    parent.send_signal(number)
    parent.wait()
    assert gone(pids)


def test_child_ends_when_its_guard_is_killed(tmp_path):
    file = tmp_path / "pids"
    command, codes = [sys.executable, "-c", SLEEPER, str(file)], []
    thread = threading.Thread(target=lambda: codes.append(processes.run(command)))
    thread.start()
    pids = numbers(file)
    os.kill(os.getpgid(pids[0]), signal.SIGKILL)  # it leads their session
    thread.join(60)
    assert codes == [137]
    assert gone(pids)


def test_process_of_another_namespace_or_start_of_the_machine_is_not_judged():
    name = process_name()
    assert not is_dead(name)
    host, pid, started, tail = name.rsplit(":", 3)
    assert is_dead(f"{host}:{pid}:{int(started) - 1}:{tail}")
    machine, since, namespace = host.split("/")
    for other in (f"{machine}/{since}/1", f"{machine}/another start/{namespace}"):
        assert not is_dead(f"{other}:{pid}:{int(started) - 1}:{tail}")
    assert str(os.getpid()) == pid
