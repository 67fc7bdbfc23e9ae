"""Stands in for `python -m lib.pipeline` where a training would take too long.

It trains (a moment), registers, promotes and writes its outcome, as the real one does; versions
and the alias are files of the folder `toy` in VAR_DIR. A file `overlap` tells that two ran at once.
"""

import json
import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

MOMENT = float(os.environ.get("TOY_SECONDS", "0.3"))


def write(path, value):
    part = path.with_suffix(".tmp")
    part.write_text(json.dumps(value))
    part.replace(path)


def main():
    run = Path(sys.argv[sys.argv.index("--run-dir") + 1])
    given = dict(argument.split("=", 1) for argument in sys.argv[6:])
    home = Path(os.environ["VAR_DIR"]) / "toy"
    home.mkdir(exist_ok=True)
    try:
        lock = FileLock(home / "lock").acquire(timeout=0)
    except Timeout:
        (home / "overlap").touch()
        raise
    with lock:
        write(home / "given.json", given)
        if "FAIL" in given:
            sys.stderr.write(f"working\nerror: stage 03_training: {given['FAIL']}\nRun it again\n")
            return 1
        time.sleep(MOMENT)
        if not (run / "mlflow.json").exists():
            version = len(list(home.glob("version-*.json"))) + 1
            write(home / f"version-{version}.json", {"data": given["DATA"]})
            time.sleep(MOMENT)
            write(home / "production.json", version)
            time.sleep(MOMENT)
            write(
                run / "mlflow.json", {"version": version, "promoted": True, "reason": "is better"}
            )
        time.sleep(MOMENT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
