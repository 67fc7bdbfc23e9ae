"""Read what the last check of the model found: `monitoring/latest.json` below VAR_DIR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from serving.schemas import Findings, Monitoring

FILE = Path("monitoring") / "latest.json"
log = structlog.get_logger()


def read_last_check(var_dir: Path) -> dict[str, Any]:
    """Return the findings of the last check, for JSON (`Monitoring`).

    Args:
        var_dir: the folder below which the check writes.

    Returns:
        The findings; without any, why there are none.
    """
    try:
        text = (var_dir / FILE).read_bytes()
    except FileNotFoundError:
        nothing = Monitoring(status="never checked", detail="No check of the model has run yet")
        return nothing.model_dump()
    except OSError as error:
        return _unreadable(error.strerror or "it cannot be opened")
    try:
        findings = Findings.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return _unreadable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return Monitoring(status="checked", findings=findings).model_dump()


def _unreadable(why: str) -> dict[str, Any]:
    log.warning("findings of the last check cannot be read", error=why[:300])
    detail = "What the last check wrote cannot be read; run it again"
    return Monitoring(status="unreadable", detail=detail).model_dump()
