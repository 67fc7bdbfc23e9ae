"""Locks of files between processes, and the identity of the machine that holds one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

BOOT = Path("/proc/sys/kernel/random/boot_id")
log = structlog.get_logger()


@contextmanager
def locked(
    path: Path,
    *,
    timeout: float = -1,
    waiting: str = "waiting for a lock that another process holds",
) -> Generator[None]:
    """Hold the lock of a file for the length of a block.

    The operating system frees the lock when its holder dies, and the file itself stays. Waiting is
    logged once. Not reentrant.

    Args:
        path: the lock file; its folder must exist.
        timeout: seconds to wait for another holder; 0 not at all, -1 for as long as it takes.
        waiting: the event to log while waiting.

    Raises:
        filelock.Timeout: another process holds it still.
        OSError: the file cannot be opened.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if timeout == 0:
            raise
        log.info(waiting, lock=str(path))
        lock.acquire(timeout=timeout)
    try:
        yield
    finally:
        lock.release()


def host_identity() -> str:
    """Return the start of this machine and its process namespace, "/" where Linux is not there.

    Numbers of processes mean something within it alone. The name of a host is not enough: machines
    that were copied share it, and so do containers on one.
    """
    boot, namespace = "", ""
    with suppress(OSError):
        boot = BOOT.read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    return f"{boot}/{namespace}"
