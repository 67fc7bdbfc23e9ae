"""Give memory back to the system after a large call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_M_ARENA_MAX = -8  # of glibc's malloc.h


def limit_heaps(most: int = 2) -> None:
    """Let threads share heaps, where the C library has more than one (glibc); else do nothing.

    glibc gives each thread a heap of its own, up to eight a core. What one thread has freed no
    other one takes, so that the memory of a process follows the largest calls of every thread.
    Call it before threads are started.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, most)
    except (AttributeError, OSError, TypeError):  # musl and macOS have none
        return


def release_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc); else do nothing.

    glibc keeps what was freed below the top of a heap. After a call of tens of megabytes that
    would count against the container's limit until the process ends.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl and macOS have none
        return None
