"""What a process of the server asks of its C library and of Python."""

import re
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, threading
from serving.http.memory import limit_heaps

if {limited}:
    limit_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
meet = threading.Barrier(13)

def take():
    meet.wait()  # all at once, or they would take turns in one heap
    libc.malloc(1000)
    meet.wait()

threads = [threading.Thread(target=take) for _ in range(12)]
for thread in threads:
    thread.start()
meet.wait()
meet.wait()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def heaps(limited):
    script = HEAPS.replace("{limited}", str(limited))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return len(re.findall("<heap nr=", done.stdout))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has several heaps")
def test_threads_of_a_server_share_heaps():
    assert heaps(limited=False) > 2
    assert heaps(limited=True) <= 2


def test_process_that_is_ready_gives_each_thread_a_short_turn():
    script = "import gc, sys; from serving.server import settle; settle(); "
    script += "print(sys.getswitchinterval() <= 0.001, gc.get_freeze_count() > 10_000)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr
