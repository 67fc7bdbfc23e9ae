"""Read what the last check of the model found: from the database, or the file of this host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from pydantic import ValidationError

from lib.storage import DEFAULT_NAME, Store, findings
from serving.schemas import Findings, Monitoring

FILE = Path("monitoring") / "latest.json"
log = structlog.get_logger()


def read_last_check(
    var_dir: Path, store: Store | None = None, *, model_name: str = DEFAULT_NAME
) -> dict[str, Any]:
    """Return the findings of the last check, for JSON (`Monitoring`).

    Args:
        var_dir: the folder below which a check of this host writes.
        store: the database, which has those of any host; the file counts where it has none.
        model_name: registered name of the model; the file may be of another one.

    Returns:
        The findings; without any, why there are none.

    Raises:
        StoreError: the database does not answer.
    """
    if store is not None and (kept := _from_store(store)) is not None:
        try:
            found = Findings.model_validate(kept)
        except ValidationError as error:
            return _unreadable(_first_problem(error))
        return Monitoring(status="checked", findings=found).model_dump()
    try:
        text = (var_dir / FILE).read_bytes()
    except FileNotFoundError:
        return _never_checked()
    except OSError as error:
        return _unreadable(error.strerror or "it cannot be opened")
    try:
        found = Findings.model_validate_json(text)
    except ValidationError as error:
        return _unreadable(_first_problem(error))
    if found.model_name not in (None, model_name):
        return _never_checked()
    return Monitoring(status="checked", findings=found).model_dump()


def _never_checked() -> dict[str, Any]:
    return Monitoring(
        status="never checked", detail="No check of the model has run yet"
    ).model_dump()


def _from_store(store: Store) -> dict[str, Any] | None:
    of_model = findings.c.model_name == store.model_name
    with store.reading() as connection:
        return connection.scalar(sa.select(findings.c.result).where(of_model))


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _unreadable(why: str) -> dict[str, Any]:
    log.warning("findings of the last check cannot be read", error=why[:300])
    detail = "What the last check wrote cannot be read; run it again"
    return Monitoring(status="unreadable", detail=detail).model_dump()
