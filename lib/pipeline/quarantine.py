"""List, release or drop implausible actuals: `lstm-forecast quarantine --help`.

An actual in quarantine is left out of checks and retraining. Once released it counts like any
other; once dropped it is gone, and may be sent again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing

from lib.monitoring import drop, list_quarantined, release
from lib.settings import SettingsError, get_settings
from lib.storage import Store, StoreError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 (done), 1 (nothing of that key, or no database) or 2."""
    parser = argparse.ArgumentParser(prog="lstm-forecast quarantine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="write the actuals in quarantine as JSON")
    for name, text in (("release", "believe these actuals"), ("drop", "delete these actuals")):
        command = commands.add_parser(name, help=text)
        command.add_argument("key", nargs="+", help="as `list` shows it")
    options = parser.parse_args(arguments)
    try:
        with closing(Store.of(get_settings())) as store:
            if options.command == "list":
                sys.stdout.write(json.dumps(list_quarantined(store), indent=1) + "\n")
                return 0
            count = (release if options.command == "release" else drop)(store, options.key)
    except StoreError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{options.command}: {count} of {len(options.key)}\n")
    return 0 if count else 1


if __name__ == "__main__":
    raise SystemExit(main())
