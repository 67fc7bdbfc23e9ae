"""Real child processes, whose parents end as they should or not."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.settings import ROOT
from lib.storage import processes

# Says its number and that of a child of its own, then sleeps; deaf to SIGTERM if asked.
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
from lib import children
children.GRACE = 0.5
children.run([sys.executable, "-c", *sys.argv[1:]])
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


def test_run_of_a_command_that_is_not_there_is_127(tmp_path):
    with (tmp_path / "said").open("wb") as said:
        assert processes.run(["no-such-command"], output=said) == 127
    said = (tmp_path / "said").read_text()
    assert said == "error: cannot run no-such-command: No such file or directory\n"


def test_run_gives_environment_folder_and_output(tmp_path):
    code = "import os, sys; print(os.environ['X'], os.getcwd()); sys.stderr.write('and this')"
    with (tmp_path / "said").open("wb") as said:
        assert processes.run([sys.executable, "-c", code], output=said, environment={"X": "1"}) == 0
    assert sorted((tmp_path / "said").read_text().split("\n")) == sorted([f"1 {ROOT}", "and this"])


@pytest.mark.parametrize("deaf", [(), ("deaf",)])
def test_run_ends_all_of_it_when_told_to_stop(tmp_path, monkeypatch, deaf):
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
