"""A real worker process whose explanations cost a moment: for tests of what happens around them.

A body may bring trouble: {"raise": text}, {"later": file} (until the file exists), {"seconds"}.
{"until": file} is computed until the file exists.
What follows the lease's seconds on its command line is the command of MONITOR_CRON.
"""

import sys
import time
from pathlib import Path

from lib.log import configure_logging
from lib.settings import get_settings
from serving.explanations.explainer import TryLaterError
from serving.worker import Worker


def compute(body, version):
    if "raise" in body:
        raise ValueError(body["raise"])
    if "later" in body and not Path(body["later"]).exists():
        raise TryLaterError("the registry is away")
    while "until" in body and not Path(body["until"]).exists():
        time.sleep(0.05)
    time.sleep(body.get("seconds", 0.1))
    return {"version": version, "n": body.get("n")}, b"\x89PNG"


if __name__ == "__main__":
    settings = get_settings(None)
    configure_logging(settings.log_level)
    Worker(settings, compute, lease_seconds=float(sys.argv[1]), monitor=sys.argv[2:]).run()
