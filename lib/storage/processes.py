"""Child processes that do not outlive their parent, however it ends.

Between the two stands a guard, `python -m lib.storage.processes COMMAND`: leader of a session of its own,
it reads from a pipe whose other end the parent holds. When that closes, be it because the parent
was killed, the guard ends all of its session.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
GRACE = 5.0  # seconds from SIGTERM to SIGKILL
_LOOK = 0.1  # seconds between two looks whether to stop


def run(
    command: Sequence[str],
    *,
    stop: Sequence[threading.Event] = (),
    output: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
) -> int:
    """Run a command in the project's folder to its end. → its exit code; 128 + n by signal n.

    Args:
        stop: it is ended when one of these is set.
        output: file for what it says; by default where this process says it.
        environment: variables beside this process's own.
        keep_open: file descriptors it inherits, such as that of a lock it shall hold.
    """
    guard = subprocess.Popen(
        [sys.executable, "-m", "lib.storage.processes", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        pass_fds=keep_open,
    )
    try:
        while not any(event.is_set() for event in stop):
            try:
                return _code(guard.wait(_LOOK))
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
    return _code(guard.returncode)


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


def _guard(command: Sequence[str]) -> int:
    # It ends last. A handler, unlike SIG_IGN, is not inherited by the command.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    ending = threading.Event()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    except OSError as error:
        sys.stderr.write(f"error: cannot run {command[0]}: {error.strerror}\n")
        return 127

    def watch() -> None:
        os.read(0, 1)  # nothing is ever written: it returns when the parent is gone
        ending.set()
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    code = _code(child.wait())
    if ending.is_set():
        os.killpg(0, signal.SIGKILL)  # its own children too
    return code


if __name__ == "__main__":
    raise SystemExit(_guard(sys.argv[1:]))
