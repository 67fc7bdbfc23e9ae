"""Subprocess supervision: child processes that do not outlive their parent, however it ends.

Between the two stands a guard, `python -m lib.storage.processes COMMAND`. It leads a session of its
own and reads from a pipe whose other end the parent holds. When the pipe closes, for instance
because the parent was killed, the guard ends its whole session. Linux and macOS.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from filelock import FileLock, Timeout

GRACE = 5.0  # seconds from SIGTERM to SIGKILL
_POLL_SECONDS = 0.1  # between two looks whether to stop
_LOCK_OPTION = "--lock"
_NOT_FOUND, _LOCKED = 127, 75  # exit codes: as a shell's, and EX_TEMPFAIL


def run(
    command: Sequence[str],
    *,
    stop: Sequence[threading.Event] = (),
    output: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    lock: Path | None = None,
) -> int:
    """Run a command to its end, and return its exit code: 128 + n where signal n ended it.

    Args:
        command: the program and its arguments. It runs in this process's working directory.
        stop: the command is ended when one of these is set.
        output: file for stdout and stderr; by default those of this process.
        environment: variables beside this process's own.
        lock: file to lock while any of it runs. Where the lock is not free soon, since an earlier
            command is still ending, the exit code is 75 and the message in `output`.
    """
    # By its path, not its name: it starts without the package being importable.
    guard_command = [sys.executable, "-P", __file__, *([_LOCK_OPTION, str(lock)] if lock else [])]
    guard = subprocess.Popen(
        [*guard_command, *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        while not any(event.is_set() for event in stop):
            try:
                return _exit_code(guard.wait(_POLL_SECONDS))
            except subprocess.TimeoutExpired:
                continue
    finally:
        if guard.stdin is not None:
            guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            guard.wait(2 * GRACE)
        if guard.poll() != 0:
            # The guard itself was killed, perhaps, or has left something behind.
            with suppress(ProcessLookupError):
                os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()
    return _exit_code(guard.returncode)


def process_name() -> str:
    """Return a name no other process has or will have: host, number, start, and a random part."""
    pid = os.getpid()
    return f"{_host()}:{pid}:{_started(pid)}:{uuid4().hex[:8]}"


def is_dead(process: str) -> bool:
    """Tell whether a process of this machine, by its `process_name`, is certainly gone.

    False for processes of other machines, and for all where there is no /proc (macOS, Windows).
    """
    host, pid, started, _ = process.rsplit(":", 3)
    if host != _host() or not Path("/proc/self/stat").exists():
        return False
    return _started(int(pid)) != int(started)


def _host() -> str:
    """Return the name of this machine, and what distinguishes it from others of the same name."""
    from lib import locks  # not at the top: the guard runs without the package

    return f"{socket.gethostname()}/{locks.host_identity()}"


def _started(pid: int) -> int:
    """Return the start of a process in ticks since the machine's, 0 for none or a zombie."""
    try:
        # The name, in brackets, may hold anything: count from behind it.
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if stat[0] in "ZX" else int(stat[19])


def _exit_code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


def _guard(arguments: Sequence[str]) -> int:
    """Run a command until it ends or the parent is gone; the lock, if any, lasts as long."""
    # The guard ends last. A handler, unlike SIG_IGN, is not inherited by the command.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    ending = threading.Event()
    threading.Thread(target=_end_with_parent, args=(ending,), daemon=True).start()
    command = list(arguments)
    if command[:1] == [_LOCK_OPTION]:
        lock = FileLock(command[1])
        command = command[2:]
        try:
            lock.acquire(timeout=4 * GRACE)
        except Timeout:
            sys.stderr.write(f"error: {lock.lock_file} is held by an earlier process\n")
            return _LOCKED
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"error: cannot run {command[0]}: {error.strerror}\n")
        return _NOT_FOUND
    code = _exit_code(child.wait())
    if ending.is_set():
        os.killpg(0, signal.SIGKILL)  # the command's own children too
    return code


def _end_with_parent(ending: threading.Event) -> None:
    os.read(0, 1)  # nothing is ever written: it returns when the parent is gone
    ending.set()
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(_guard(sys.argv[1:]))
