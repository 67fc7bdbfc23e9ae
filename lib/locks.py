"""Identify the machine and process namespace that holds a lock."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


def host_identity() -> str:
    """The start of this machine, and the processes seen from here.

    Numbers of processes mean something within it alone. The name of a host does not tell: machines
    that were copied share it, and so do containers on one.
    """
    boot, processes = "", ""
    with suppress(OSError):
        boot = BOOT.read_text().strip()
        processes = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    return f"{boot}/{processes}"
