"""Promote, roll back or show the registered versions: `python -m lib.registry --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from lib.log import configure_logging
from lib.registry.registry import Registry
from lib.registry.versions import RegistryError
from lib.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 refused, 2 wrong arguments."""
    parsed = _parser().parse_args(arguments)
    try:
        registry = Registry()
        configure_logging(registry.settings.log_level, registry.settings.log_format)
        answer = _run(registry, parsed)
    except (RegistryError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{answer}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.registry", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    promote = commands.add_parser("promote", help="make a version the production one")
    promote.add_argument("--version", type=int, required=True, help="its number")
    commands.add_parser("rollback", help="return to the previous production version")
    commands.add_parser("show", help="print versions, aliases and history as JSON")
    return parser


def _run(registry: Registry, parsed: argparse.Namespace) -> str:
    if parsed.command == "promote":
        registry.promote(parsed.version)
        return f"{registry.name}: version {parsed.version} is in production"
    if parsed.command == "rollback":
        return f"{registry.name}: version {registry.rollback()} is in production again"
    return json.dumps(registry.show(), indent=2)


if __name__ == "__main__":
    raise SystemExit(main())
