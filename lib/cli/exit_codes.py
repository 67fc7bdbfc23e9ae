"""What a command ends with: its exit code, and its error in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run a command, write its error to stderr in one line, and return the exit code.

    An error of the project carries a message for people; any other is a defect and keeps its
    traceback.
    """
    try:
        code = command()
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        _write_error(f"{message}{'' if message.endswith('?') else '.'} See --help.")
        return WRONG
    except typer.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except (ValueError, RuntimeError) as error:
        if not type(error).__module__.startswith("lib."):
            raise
        _write_error(str(error))
        return WRONG if type(error).__name__ in ("ParameterError", "SettingsError") else FAILED
    if code == INTERRUPTED:
        return _interrupted()
    return code if isinstance(code, int) else 0


def _write_error(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")


def _interrupted() -> int:
    sys.stderr.write("interrupted; run the same command again to resume\n")
    return INTERRUPTED
