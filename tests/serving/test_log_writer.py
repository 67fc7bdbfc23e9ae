"""Log lines that are written in the background."""

import io
import subprocess
import sys
import threading
import time

from lib.settings import ROOT
from serving.log_writer import LogWriter


class Slow(io.StringIO):
    """A stream whose reader has stopped."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def write(self, text):
        self.go.wait(10)
        return super().write(text)


def test_lines_do_not_wait_for_their_reader_and_keep_their_order():
    stream = Slow()
    writer = LogWriter(stream, lines=100)
    slowest = 0.0
    for number in range(300):
        began = time.perf_counter()
        writer.write(f"{number}\n")
        slowest = max(slowest, time.perf_counter() - began)
        if number == 50:
            time.sleep(0.1)  # the thread holds these now
    assert slowest < 0.5
    stream.go.set()
    writer.write("last\n")
    writer.flush()
    lines = stream.getvalue().splitlines()
    assert lines[:51] == [str(n) for n in range(51)]
    (lost,) = [line for line in lines if "log lines lost" in line]
    assert '"lines": 149' in lost or '"lines": 150' in lost


def test_lines_of_a_process_that_ends_are_written():
    code = (
        "import sys\nfrom serving.log_writer import LogWriter\n"
        "writer = LogWriter(sys.stderr)\nwriter.write('one\\n')\nwriter.write('two\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "one\ntwo\n"
